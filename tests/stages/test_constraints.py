"""The stage of prompts with constraints: subsets, instructions of one's own, near-duplicates, rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.rewards.ifeval import instructions_rule
from openprm.runs.folder import read_rows
from openprm.schema import Prompt
from openprm.stages.constraints import Constraints

from ..answers import rejected, write_jsonl
from ..rewards.outcomes import outcome, reward

COMMA = "punctuation:no_comma"


def made(out: Path, **options: Any) -> tuple[dict[str, Any], list[Prompt]]:
    manifest = Constraints(**options).run(out)
    return manifest, list(read_rows(out, Prompt))


def topic(row: Prompt) -> str:
    return row["question"][0]["content"].partition(".")[0].partition("?")[0]


def test_subsets_share_no_topic(tmp_path):
    train, rows = made(tmp_path / "train", n=200)
    test, held = made(tmp_path / "test", n=50, subset="test")
    assert (len(rows), len(held)) == (200, 50)
    assert train["counts"]["instructions"] > 3 * test["counts"]["instructions"] > 0
    assert not {topic(row) for row in rows} & {topic(row) for row in held}
    assert sum(train["counts"]["kinds"].values()) > 200
    assert train["origins"] == [
        {"name": "constraints", "kind": "data", "license": "Apache-2.0", "citation": train["origins"][0]["citation"]}
    ]


def test_own_instructions_without_near_duplicates(tmp_path):
    tasks = ["Explain why ships float.", "Tell me of the oldest bridge.", "Praise a plain breakfast.", ""]
    own = write_jsonl(tmp_path / "own.jsonl", [{"task": task} for task in tasks])
    options: dict[str, Any] = {"instructions": own, "instruction_column": "task", "holdout": 0.4}
    options |= {"n": 4, "constraints": [COMMA, "keywords:existence"]}
    manifest, prompts = made(tmp_path / "all", **options)
    texts = {task for task in tasks[:3] for row in prompts if row["question"][0]["content"].startswith(task)}
    assert (len(prompts), len(texts)) == (4, 2), "the third is held out"
    assert {*manifest["counts"]["kinds"]} <= {*options["constraints"]}
    assert rejected(tmp_path / "all")[0]["key"].endswith(", row 4")
    assert [one["name"] for one in manifest["origins"]] == ["constraints", "own.jsonl"]

    first, second = sorted(texts)
    near = {"test": write_jsonl(tmp_path / "near.jsonl", [{"question": f"{first.upper()} No commas!"}])}
    manifest, prompts = made(tmp_path / "some", **options, avoid=near)
    assert manifest["counts"]["near_duplicates"] == 1
    assert all(row["question"][0]["content"].startswith(second) for row in prompts)
    near["more"] = write_jsonl(tmp_path / "more.jsonl", [{"question": second}])
    with pytest.raises(InputError, match=r"all 2 instructions are nearly in one of .*near\.jsonl, .*more\.jsonl"):
        made(tmp_path / "none", **options, avoid=near)


def test_a_file_without_instructions_says_why(tmp_path):
    own = write_jsonl(tmp_path / "own.jsonl", [{"question": ""}, {"question": " "}])
    with pytest.raises(InputError, match=r"own\.jsonl: no prompt could be used; 2 rows .*is empty"):
        made(tmp_path / "out", instructions=own, n=1)
    with pytest.raises(InputError, match=r"own\.jsonl: no prompt could be used; 2 rows .*is empty"):
        made(tmp_path / "out", avoid={"test": own}, n=1)


def test_prompts_to_avoid_that_cannot_be_used_are_listed(tmp_path):
    near = write_jsonl(tmp_path / "near.jsonl", [{"question": "Write a joke about tea."}, {"question": ""}])
    manifest, _ = made(tmp_path / "out", n=1, avoid={"test": near})
    assert manifest["counts"]["near_duplicates"] > 0
    assert [*manifest["counts"]["rejected"].values()] == [1]
    assert [row["key"] for row in rejected(tmp_path / "out")] == [f"{near}, row 2"]
    with pytest.raises(InputError, match="stopped by --strict"):
        made(tmp_path / "strict", n=1, avoid={"test": near}, strict=True)


def test_a_response_is_rewarded_by_the_share_it_meets(tmp_path):
    pytest.importorskip("langdetect")
    _, prompts = made(tmp_path / "out", n=30, constraints=[COMMA, "detectable_format:title"])
    (both,) = [row for row in prompts if row["reference"].count('"id"') == 2][:1]
    responses = ["<<Tea>> It is hot", "<<Tea>> Hot, and good", "Hot, and good"]
    found = [outcome(instructions_rule("share"), text, both["reference"]) for text in responses]
    assert found == [reward("share", share) for share in (1.0, 0.5, 0.0)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset": "dev"}, "no subset 'dev'"),
        ({"holdout": 1.0}, "share of prompts to hold out is 1"),
        ({"constraints": ["punctuation:no_coma"]}, "did you mean 'punctuation:no_comma'"),
    ],
)
def test_wrong_parameters(options, message):
    with pytest.raises(InputError, match=message):
        Constraints(n=1, **options)
