from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from openprm.cli import app
from openprm.engines.specs import RewardSpec
from openprm.errors import InputError
from openprm.evaluation import engine_parity as parity
from openprm.evaluation.engine_parity import EACH, compare_rewards, deviations, sample
from openprm.schema import Candidate

from ..folders import candidate, dataset

TEXTS = ["The sum.\nFive.\n", "", "The answer is five.", "Seven.\n\nThen.\nOr six", "Two.\nSo: 5", "Six."]


def rows(prompts: int = 3) -> list[Any]:
    return [
        candidate(f"p{p}", i, f"{text} {p}" if text else "") for p in range(prompts) for i, text in enumerate(TEXTS)
    ]


def test_a_difference_matters_where_it_changes_the_best():
    reference, found = [[1.0, 2.0], [0.9], [3.0], [0.0]], [[1.0, 2.1], [1.2], [3.0], [0.2]]
    largest, mean, changed, prompts = compare_rewards(reference, found, ["p", "p", "q", "q"], "min")
    assert (largest, mean) == (pytest.approx(0.3), pytest.approx(0.6 / 5))
    assert (changed, prompts) == (1, 2)
    assert compare_rewards(reference, found, ["p", "p", "q", "q"], "last")[2] == 0
    assert compare_rewards([[1.0]], [[2.0]], ["p"], "min")[3] == 0  # a single response has no best of n


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_reward_is_the_largest_difference(missing: float | None):
    largest, _, changed, _ = compare_rewards([[1.0], [2.0]], [[1.0], [missing]], ["p", "p"], "min")
    assert (largest, changed) == (math.inf, 1)


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 40))
def test_a_sample_holds_up_to_four_responses_of_each_of_its_prompts(prompts: list[int], n: int):
    given_rows: Any = [{"prompt_id": str(p), "response": "x", "at": at} for at, p in enumerate(prompts)]
    found: Any = sample(given_rows, n)
    counts = [[row["prompt_id"] for row in found].count(str(p)) for p in set(prompts)]
    available = sum(min(EACH, prompts.count(p)) for p in set(prompts))
    assert len(found) >= min(n, available)
    assert len(found) < n + EACH
    assert all(count in (0, min(EACH, prompts.count(p))) for count, p in zip(counts, set(prompts), strict=True))
    places = [row["at"] for row in found]
    assert len(set(places)) == len(places)


def test_the_ways_of_transformers_agree(base: Path):
    spec = RewardSpec(str(base))
    others = [RewardSpec(str(base), dtype="bfloat16")]
    found = list(deviations(rows(), spec, others, separator="line"))
    assert len(found) == 9
    assert {one.prompts for one in found} == {3}
    for one in found:
        if one.dtype == "float32":
            assert one.largest < 1e-4
            assert one.changed == 0
        else:
            assert one.largest > 1e-4
    assert found[0].engine == "transformers"
    assert found[3].engine == "transformers, plain"


def test_a_way_that_is_off_is_found_out(base: Path, monkeypatch: pytest.MonkeyPatch):
    score = parity.StepScorer.score_rows

    def off(self: Any, rows: Any) -> Any:
        found = score(self, rows)
        if len(found) == 1:  # one by one only
            found[0].step_rewards[0] += 0.5
        return found

    monkeypatch.setattr(parity.StepScorer, "score_rows", off)
    found = list(deviations(rows(), RewardSpec(str(base)), []))
    assert [one.largest > 0.4 for one in found] == [False, True, False] * 2


def test_nothing_that_can_be_rewarded(base: Path):
    with pytest.raises(InputError, match="no response of 1 can be rewarded"):
        list(deviations([candidate("p", 0, "word " * 400)], RewardSpec(str(base)), []))  # type: ignore[list-item]


def test_the_command(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("openprm.cli.engine_comparison.find_spec", lambda _: None)  # vLLM has tests of its own
    folder = dataset(tmp_path / "candidates", Candidate, rows())
    result = CliRunner().invoke(app, ["score", str(folder), "--model", str(base), "--compare-engines"])
    assert result.exit_code == 0, result.output
    assert "all together" in result.output
    assert "bfloat16" in result.output
