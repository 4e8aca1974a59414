"""The policy whose values are known, and labels that are sampled from it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.labels.conversions import harden
from openprm.labels.step_labels import NO_ERROR
from openprm.labels.valuing import Beginning, Valued, label_responses
from openprm.presets.known_policy import KnownPolicy, first_wrong_position, stated
from openprm.presets.toy_domain import Dial, dials, read_dial
from openprm.presets.toy_stages import ToyLabels, ToyPrompts, ToySolutions
from openprm.runs.folder import read_rows
from openprm.schema import Candidate, StepLabels

POLICY = KnownPolicy()
TURNS = st.one_of(
    st.tuples(st.sampled_from(["up", "down"]), st.integers(1, 3)),
    st.tuples(st.sampled_from(["flip", "mirror"]), st.just(0)),
)


@given(st.integers(0, 9), st.lists(TURNS, min_size=1, max_size=4), st.integers(0, 3))
def test_a_value_is_the_mean_of_those_of_the_next_steps(start: int, turns: list[Any], seed: int):
    dial = Dial(start, tuple(turns))
    steps = POLICY.solve(dial, random.Random(seed))
    assert read_dial(dial.question) == dial
    assert POLICY.value(dial, steps) == float(stated(steps[-1]) == int(dial.reference))
    after = [POLICY.solve(dial, random.Random(n))[:1] for n in range(400)]
    sampled = sum(POLICY.value(dial, some) for some in after) / len(after)
    assert POLICY.value(dial) == pytest.approx(sampled, abs=5 * 0.5 / math.sqrt(len(after)))


def test_without_mistakes_every_step_is_right():
    for dial in dials(20, 0):
        steps = KnownPolicy(0.0, 0.0).solve(dial, random.Random(0))
        assert first_wrong_position(dial, steps) == NO_ERROR
        assert all(KnownPolicy(0.0, 0.0).value(dial, steps[:n]) == 1 for n in range(len(steps) + 1))
    assert first_wrong_position(dials(1, 0)[0], ["First what"]) == 0


def rows(n: int, seed: int = 0) -> list[tuple[dict[str, Any], list[str], float]]:
    """Solutions, one to a dial, with their outcomes."""
    rng, found = random.Random(seed), []
    for index, dial in enumerate(dials(n, seed)):
        steps = POLICY.solve(dial, rng)
        question = [{"role": "user", "content": dial.question}]
        row = {"prompt_id": str(index), "source": "dial", "question": question, "reference": dial.reference}
        found.append(({**row, "sample_index": 0}, steps, float(stated(steps[-1]) == int(dial.reference))))
    return found


def sampled(k: int, seed: int, looked: list[int]) -> Any:
    rng = random.Random(seed)

    def value(asked: Sequence[Beginning]) -> list[Valued]:
        looked.append(len(asked))
        found = []
        for one in asked:
            dial = read_dial(one.row["question"][0]["content"])
            found.append(Valued(POLICY.sampled_value(dial, one.steps, k, rng), k))
        return found

    return value


def test_sampled_labels_lie_within_binomial_bands():
    """Of 300 responses the sum of all values, and of the hard labels, which are 1 with probability 1 - (1 - V)^k."""
    given, k = rows(300), 8
    labels = label_responses(given, sampled(k, 1, []), {}, mode="scan")
    mean = variance = hard_mean = hard_variance = soft = hard = 0.0
    for (row, steps, _), found in zip(given, labels, strict=True):
        dial = read_dial(row["question"][0]["content"])
        assert not isinstance(found, Exception)
        for depth in range(1, len(steps)):
            exact = POLICY.value(dial, steps[:depth])
            mean, variance = mean + exact, variance + exact * (1 - exact) / k
            any_right = 1 - (1 - exact) ** k
            hard_mean, hard_variance = hard_mean + any_right, hard_variance + any_right * (1 - any_right)
            soft += found["labels"][depth - 1] or 0.0
            hard += harden(found)["labels"][depth - 1] or 0.0
    assert abs(soft - mean) < 4 * math.sqrt(variance)
    assert abs(hard - hard_mean) < 4 * math.sqrt(hard_variance)


def test_the_search_finds_what_the_scan_finds_by_fewer_beginnings():
    """On the values themselves; they fall monotonically but where a slip mends a wrong step."""

    def exact(looked: list[int]) -> Any:
        def value(asked: Sequence[Beginning]) -> list[Valued]:
            looked.append(len(asked))
            dials = [read_dial(one.row["question"][0]["content"]) for one in asked]
            return [Valued(POLICY.value(dial, one.steps), 1) for dial, one in zip(dials, asked, strict=True)]

        return value

    given, scanned, searched = rows(200), [0], [0]
    threshold = 0.3  # of the exact value: nothing is quite hopeless
    scan = label_responses(given, exact(scanned), {}, mode="scan", threshold=threshold)
    binary = label_responses(given, exact(searched), {}, mode="binary", threshold=threshold)
    same = 0
    for one, other in zip(scan, binary, strict=True):
        assert not isinstance(one, Exception)
        assert not isinstance(other, Exception)
        below = [label for label in one["labels"] if label is not None and label <= threshold]
        monotone = sorted(one["labels"], key=lambda label: label > threshold, reverse=True) == one["labels"]
        error = harden(one, threshold)["first_error"]
        assert not monotone or error == other["first_error"], below
        same += error == other["first_error"]
    assert sum(searched) < 0.7 * sum(scanned)
    assert same > 0.9 * len(given)


def test_the_stages_give_what_is_known(tmp_path: Path):
    ToyPrompts(n=4, split="test").run(tmp_path / "prompts")
    ToySolutions(prompts=str(tmp_path / "prompts"), n=3).run(tmp_path / "candidates")
    candidates: list[Any] = list(read_rows(tmp_path / "candidates", Candidate))
    assert len(candidates) == 12
    for by, kind in (("position", "correct"), ("value", "value")):
        ToyLabels(candidates=str(tmp_path / "candidates"), by=by, per_prompt=2).run(tmp_path / by)
        labels: list[Any] = list(read_rows(tmp_path / by, StepLabels))
        assert [row["sample_index"] for row in labels] == [0, 1] * 4
        assert {row["kind"] for row in labels} == {kind}
    rewards = {(row["prompt_id"], row["sample_index"]): row["rewards"][0]["value"] for row in candidates}
    assert [row["labels"][-1] for row in labels] == [rewards[row["prompt_id"], row["sample_index"]] for row in labels]


def test_the_stage_samples_values(tmp_path: Path):
    ToyPrompts(n=30, split="test").run(tmp_path / "prompts")
    ToySolutions(prompts=str(tmp_path / "prompts"), n=2).run(tmp_path / "candidates")
    found = {}
    for k in (None, 16):
        ToyLabels(candidates=str(tmp_path / "candidates"), by="value", k=k).run(tmp_path / str(k))
        rows: list[Any] = list(read_rows(tmp_path / str(k), StepLabels))
        found[k] = [label for row in rows for label in row["labels"]]
    assert all(label * 16 % 1 == 0 for label in found[16])
    variance = sum(value * (1 - value) / 16 for value in found[None])
    assert abs(sum(found[16]) - sum(found[None])) < 4 * math.sqrt(variance)
    assert found[16] != found[None]


def expected_f1(k: int, given: Sequence[tuple[dict[str, Any], list[str], float]]) -> float:
    """ProcessBench's F1 of hard labels by k completions, exactly: a label is 1 with probability 1 - (1 - V)^k."""
    hits, counts = [0.0, 0.0], [0, 0]
    for row, steps, _ in given:
        dial = read_dial(row["question"][0]["content"])
        error = first_wrong_position(dial, steps)
        ones = [1 - (1 - POLICY.value(dial, steps[: depth + 1])) ** k for depth in range(len(steps))]
        right = len(steps) if error == NO_ERROR else error
        hits[error == NO_ERROR] += math.prod(ones[:right]) * (1 if error == NO_ERROR else 1 - ones[error])
        counts[error == NO_ERROR] += 1
    wrong, correct = (hit / count for hit, count in zip(hits, counts, strict=True))
    return 2 * wrong * correct / (wrong + correct)


def test_the_best_number_of_completions_lies_inside():
    """With few a right step looks hopeless, with many slips mend a wrong one. See docs/labels.md."""
    found = [expected_f1(k, rows(2000)) for k in (1, 2, 4, 8, 16, 32)]
    assert [round(f1, 3) for f1 in found] == [0.58, 0.731, 0.871, 0.956, 0.959, 0.935]
