"""Pairs of step labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.labels.step_labels import VALUE
from openprm.runs.folder import read_manifest, read_rows
from openprm.schema import Pair, StepLabels
from openprm.stages.label_pairs import LabelPairs

from ..folders import dataset
from ..labels.rows import labelled


def pairs(out: Path, rows: list[Any], **options: Any) -> list[Any]:
    labels = dataset(out.with_name(f"{out.name}-labels"), StepLabels, rows)
    LabelPairs(labels=str(labels), **options).run(out)
    return list(read_rows(out, Pair))


def test_steps_of_one_depth(tmp_path: Path):
    rows = [labelled([0.75, 0.5], 0, "a", kind=VALUE), labelled([0.0, 1.0, 0.0], 0, "b", kind=VALUE)]
    rows.append(labelled([0.25, 0.5], 1, "a", kind=VALUE))  # not beside the other of its prompt
    (pair,) = pairs(tmp_path / "pairs", rows)
    assert (pair["prompt_id"], pair["depth"], pair["gap"]) == ("a", 1, 0.5)
    assert read_manifest(tmp_path / "pairs")["counts"]["prompts_without_a_pair"] == 1


def test_corrections(tmp_path: Path):
    rows = [labelled([1.0, 0.0], 0, first_error=1, correction="right.\n"), labelled([1.0], 1, first_error=-1)]
    (pair,) = pairs(tmp_path / "pairs", rows, at="error")
    assert (pair["chosen"], pair["rejected"]) == ("right.\n", "0 step 1.\n")
    assert read_manifest(tmp_path / "pairs")["counts"]["responses_without_a_pair"] == 1


def test_the_control_turns_about_half_of_the_pairs(tmp_path: Path):
    rows = [labelled([float(n), n / 2], n, f"p{i}", kind=VALUE) for i in range(40) for n in range(2)]
    plain, control = pairs(tmp_path / "pairs", rows), pairs(tmp_path / "control", rows, shuffle=0)
    assert len(control) == len(plain)
    sides = {tuple(sorted((one["context"] + one["chosen"], _rejected(one)))) for one in plain}
    assert {tuple(sorted((one["context"] + one["chosen"], _rejected(one)))) for one in control} == sides
    right = {one["context"] + one["chosen"] for one in plain}
    kept = sum(one["context"] + one["chosen"] in right for one in control)
    assert 0.25 < kept / len(plain) < 0.75


def _rejected(pair: Pair) -> str:
    before = pair["rejected_context"]
    return (pair["context"] if before is None else before) + pair["rejected"]


def test_what_cannot_be(tmp_path: Path):
    for options, problem in (({"at": "dept"}, "did you mean 'depth'"), ({"select": "most"}, "no pairs at 'most'")):
        with pytest.raises(InputError, match=problem):
            pairs(tmp_path / "pairs", [labelled([1.0])], **options)
    with pytest.raises(InputError, match="there are no pairs"):
        pairs(tmp_path / "none", [labelled([1.0])])
