"""Choices among candidates: the numbers by hand, by other code, and what holds of all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.errors import Failure, InputError
from openprm.evaluation.accuracy import evaluate_selection
from openprm.evaluation.benchmarks.baselines import RandomScore, rewarded_by
from openprm.evaluation.benchmarks.choice import EQUALS, prompts_of
from openprm.evaluation.benchmarks.declaration import Benchmark, declare, load_benchmark
from openprm.evaluation.benchmarks.items import Item, Measured, Rewarded
from openprm.evaluation.scaling import scaling_curve
from openprm.evaluation.strength import STRONGEST, strongest, within_tiers
from openprm.schema import Candidate

from ...folders import candidate, dataset

COLUMNS = {name: name for name in ("prompt_id", "question", "response", "reward", "model")}


def benchmark(**declared: Any) -> Benchmark:
    values = {"title": "t", "kind": "choice", "columns": COLUMNS, "equivalence": "exact", **declared}
    return declare("mine", values, "mine.yaml")


def file(folder: Path, rows: Sequence[dict[str, Any]]) -> str:
    path = folder / "candidates.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def row(prompt: str, response: str, reward: float | None = None, **columns: Any) -> dict[str, Any]:
    return {"prompt_id": prompt, "question": f"What is {prompt}?", "response": response, "reward": reward, **columns}


def answered(prompt: str, *given: tuple[str, float], models: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Candidates that state these answers, with their rewards."""
    names = models or [f"m{i}" for i in range(len(given))]
    return [
        row(prompt, f"{'So. ' * i}The answer is {answer}", reward, model=name)
        for i, ((answer, reward), name) in enumerate(zip(given, names, strict=True))
    ]


def read(of: Benchmark, place: str) -> tuple[list[Item], list[str]]:
    found = list(of.read(place))
    graded = list(of.graded(one for one in found if not isinstance(one, Failure)))
    failures = [str(one) for one in [*found, *graded] if isinstance(one, Failure)]
    return [one for one in graded if not isinstance(one, Failure)], failures


def measured(items: Sequence[Item], score: Any) -> Measured:
    """With `score(item, index)` for each response."""
    rewarded = [
        [Rewarded((response.text,), (float(score(item, i)),)) for i, response in enumerate(item.responses)]
        for item in items
    ]
    return Measured(items, rewarded)


def numbers(of: Benchmark, items: Sequence[Item], score: Any) -> dict[tuple[str, str], float]:
    ones = np.ones((1, len(items)))
    return {(one.name, one.subset): float(one.of(ones)[0]) for one in of.statistics(measured(items, score))}


def references(of: Benchmark, items: Sequence[Item]) -> dict[tuple[str, str, str], float]:
    ones = np.ones((1, len(items)))
    return {
        (name, one.name, one.subset): float(one.of(ones)[0])
        for name, some in of.references(items).items()
        for one in some
    }


#: The candidates' scores by prompt and answer.
_BY_HAND = {("p", "4"): 2.0, ("p", "5"): 2.0, ("p", "6"): 1.0, ("q", "7"): 0.0, ("q", "8"): 5.0}


def test_numbers_by_hand(tmp_path: Path):
    rows = answered("p", ("4", 1.0), ("5", 0.0), ("6", 0.0)) + answered("q", ("7", 1.0), ("7", 1.0), ("8", 0.0))
    of = benchmark()
    items, failures = read(of, file(tmp_path, rows))
    assert not failures

    def score(item: Item, i: int) -> float:
        return _BY_HAND[item.id, item.responses[i].text[-1]]

    found = numbers(of, items, score)
    # p: a right and a wrong one are tied; q: the wrong one is best
    assert found["accuracy", ""] == found["accuracy@3", ""] == 0.25
    assert found["accuracy@1", ""] == pytest.approx((1 / 3 + 2 / 3) / 2)
    # p: of {4, 5} half, of {4, 6} the right one, of {5, 6} none; q: of {7, 7} a right one, of the others none
    assert found["accuracy@2", ""] == pytest.approx((1.5 / 3 + 1 / 3) / 2)
    # p: a tie is a loss, a win; q: two losses
    assert found["pair accuracy", ""] == 0.25
    # p: 4 and 5 have the same weight; q: two of exp(0) against one of exp(5)
    assert found["weighted vote", ""] == 0.25
    told = references(of, items)
    assert told["single sample", "accuracy", ""] == 0.5
    assert told["majority vote", "accuracy", ""] == pytest.approx((1 / 3 + 1) / 2)
    assert told["shortest response", "accuracy", ""] == 1.0  # the first of both
    assert told["coverage", "accuracy", ""] == 1.0
    assert told["coverage", "accuracy@2", ""] == pytest.approx((2 / 3 + 1) / 2)
    # elsewhere m0 and m1 are ahead of m2 for p, m0 of both for q
    assert told[STRONGEST, "accuracy", ""] == pytest.approx((0.5 + 1) / 2)


def many(folder: Path, models: int = 9, prompts: int = 7) -> list[Item]:
    rng = np.random.default_rng(0)
    rows = []
    for prompt in range(prompts):
        right = [float(rng.random() < (i + 1) / (models + 1)) for i in range(models)]
        rows += answered(f"p{prompt}", *(("1" if one else str(rng.integers(2, 4)), one) for one in right))
    items, failures = read(benchmark(), file(folder, rows))
    assert not failures
    assert len(items) == prompts
    return items


def test_the_stage_that_measures_choices_says_the_same(tmp_path: Path):
    items = many(tmp_path)
    scores = {item.id: np.random.default_rng(len(item.id)).normal(size=9).round(1).tolist() for item in items}
    of = benchmark()
    found, told = numbers(of, items, lambda item, i: scores[item.id][i]), references(of, items)
    prompts = prompts_of(items, [scores[item.id] for item in items])
    table = {line["method"].partition(":")[0]: line["accuracy"] for line in evaluate_selection(prompts)}
    assert found["accuracy", ""] == pytest.approx(table["best of 9"])
    assert found["weighted vote", ""] == pytest.approx(table["weighted vote@9"])
    for name in ("single sample", "shortest response", "majority vote", "coverage"):
        assert told[name, "accuracy", ""] == pytest.approx(table.get(f"{name}@9", table.get(name)))
    curve = {(point["line"].partition(":")[0], point["n"]): point["accuracy"] for point in scaling_curve(prompts)}
    for n in (1, 2, 4, 8, 9):
        assert found[f"accuracy@{n}", ""] == pytest.approx(curve["best of n", n])
        assert told["coverage", f"accuracy@{n}", ""] == pytest.approx(curve["coverage", n])
    models = [item.facts["models"] for item in items]
    equals = within_tiers(prompts, models, {"": [""]}, [])
    assert equals
    by_method = {line["method"].partition(":")[0].partition("@")[0]: line["accuracy"] for line in equals["metrics"]}
    assert found["accuracy", EQUALS] == pytest.approx(by_method["best of 4 to 5"])
    assert found["weighted vote", EQUALS] == pytest.approx(by_method["weighted vote"])
    assert told["majority vote", "accuracy", EQUALS] == pytest.approx(by_method["majority vote"])
    assert told[STRONGEST, "accuracy", ""] == pytest.approx(np.mean(strongest(prompts, models)))


@given(shift=st.floats(-50, 50), seed=st.integers(0, 100))
def test_what_holds_of_any_scores(tmp_path_factory: pytest.TempPathFactory, shift: float, seed: int):
    items = many(tmp_path_factory.mktemp("items"))
    rng = np.random.default_rng(seed)
    scores = {item.id: rng.integers(-8, 8, size=9) / 4 for item in items}
    of = benchmark()
    found = numbers(of, items, lambda item, i: scores[item.id][i])
    shifted = numbers(of, items, lambda item, i: scores[item.id][i] + round(shift * 4) / 4)
    assert shifted == pytest.approx(found, nan_ok=True)
    told = references(of, items)
    assert found["accuracy@1", ""] == pytest.approx(told["single sample", "accuracy", ""])
    golden = numbers(of, items, lambda item, i: item.facts["correct"][i])
    for name in ("accuracy", "accuracy@2", "accuracy@4"):
        assert golden[name, ""] == pytest.approx(told["coverage", name, ""])
    assert golden["pair accuracy", ""] == 1.0
    equal = numbers(of, items, lambda item, i: 0.0)
    assert equal["accuracy", ""] == pytest.approx(told["single sample", "accuracy", ""])
    assert equal["weighted vote", ""] == pytest.approx(told["majority vote", "accuracy", ""])
    assert equal["pair accuracy", ""] == 0.0  # a tie is a loss


def test_a_random_score_chooses_evenly_among_distinct_responses(tmp_path: Path):
    # the right response three times and four wrong ones: 3 in 7 samples are right, 1 in 5 distinct responses
    rows = [row("p", "right", 1.0, model="m")] * 3 + [row("p", f"wrong {i}", 0.0, model="m") for i in range(4)]
    of = benchmark(equivalence=None)
    items, _ = read(of, file(tmp_path, rows))
    ones = np.ones((1, 1))
    by_seed = [rewarded_by(RandomScore(seed), {"": items})[""] for seed in range(1000)]
    found = np.mean([next(iter(of.statistics(one))).of(ones)[0] for one in by_seed])
    assert found == pytest.approx(0.2, abs=4 * np.sqrt(0.2 * 0.8 / 1000))


def test_a_subset_and_models_of_equal_strength(tmp_path: Path):
    # the first four of eight models are always right: to know that is worth nothing among equals
    right = [1.0] * 4 + [0.0] * 4
    rows = [
        one | {"domain": f"d{number % 2}"}
        for number in range(4)
        for one in answered(f"p{number}", *((str(value), value) for value in right))
    ]
    of = benchmark(columns={**COLUMNS, "source": "domain"})
    items, _ = read(of, file(tmp_path, rows))
    knows = numbers(of, items, lambda item, i: item.facts["correct"][i] if item.facts["subset"] == "d0" else -1)
    assert (knows["accuracy", "d0"], knows["accuracy", "d1"], knows["accuracy", ""]) == (1.0, 0.5, 0.75)
    assert knows["accuracy", EQUALS] == 0.5
    assert ("pair accuracy", EQUALS) not in knows  # no two of equal strength differ


def test_candidates_are_drawn_by_what_they_say(tmp_path: Path):
    rows = [row("p", f"r{i % 20}", float(i % 2), model=f"m{i % 3}") for i in range(40)]
    of = benchmark(n=5)
    (one,), _ = read(of, file(tmp_path, rows))
    (other,), _ = read(of, file(tmp_path, rows[::-1]))
    assert one == other
    assert len(one.responses) == 5
    (more,), _ = read(benchmark(n=8), file(tmp_path, rows))
    assert more.responses[:5] == one.responses


def test_unequal_numbers_of_candidates(tmp_path: Path):
    rows = answered("p", ("1", 1.0), ("2", 0.0)) + answered("q", ("1", 0.0), ("2", 0.0), ("3", 1.0), ("4", 0.0))
    of = benchmark()
    items, failures = read(of, file(tmp_path, rows))
    assert not failures
    found = numbers(of, items, lambda item, i: item.facts["correct"][i])
    assert found["accuracy@2", ""] == pytest.approx((1 + 0.5) / 2)
    assert found["accuracy@4", ""] == found["accuracy", ""] == 1.0


def test_rewards_by_rule_and_of_a_folder(tmp_path: Path):
    rows = [
        row("p", f"The answer is ({letter}).", reference="B", options=["one", "two"], model="m") for letter in "AB"
    ]
    of = benchmark(by="choice", equivalence="option", columns={"prompt_id": "prompt_id", "reference": "reference"})
    items, _ = read(of, file(tmp_path, rows))
    letters = [response.text[-3] for response in items[0].responses]
    assert dict(zip(letters, items[0].facts["correct"], strict=True)) == {"A": 0.0, "B": 1.0}
    made = [candidate("p", 0, "one", 1.0), candidate("p", 1, "two", 0.0), candidate("q", 0, "one", 1.0)]
    made += [candidate("q", 1, "two"), candidate("r", 0, "one", 1.0)]
    items, failures = read(benchmark(), str(dataset(tmp_path / "folder", Candidate, made)))
    assert [(item.id, sorted(item.facts["correct"])) for item in items] == [("p", [0.0, 1.0])]
    assert failures == [
        "prompt 'r': it has one candidate; sample more, to choose among",
        "prompt 'q': a candidate has no reward 'golden'; give it one: openprm reward",
    ]


def test_questions_of_a_second_file(tmp_path: Path):
    rows = answered("p", ("A", 1.0), ("B", 0.0))
    for one in rows:
        del one["question"]
    (tmp_path / "problems.jsonl").write_text(json.dumps({"prompt_id": "p", "question": "Which?", "options": [1, 2]}))
    of = benchmark(questions="problems.jsonl", options="options")
    items, _ = read(of, file(tmp_path, rows))
    assert items[0].question[0]["content"] == "Which?\nA. 1\nB. 2"
    (tmp_path / "problems.jsonl").unlink()
    with pytest.raises(InputError, match=r"problems.jsonl: there is no such file, with the questions to .*; put it"):
        read(of, file(tmp_path, rows))


def test_what_is_declared_wrong(tmp_path: Path):
    with pytest.raises(InputError, match=r"mine.yaml: columns is .*there is no part 'answer'"):
        benchmark(columns={"answer": "pred"})
    with pytest.raises(InputError, match=r"candidates.jsonl: no column 'golden'; it has .*did you mean 'reward'"):
        read(benchmark(columns={**COLUMNS, "reward": "golden"}), file(tmp_path, answered("p", ("1", 1.0))))


def test_where_candidates_are_ones_own(tmp_path: Path):
    math = load_benchmark("math500")
    with pytest.raises(InputError, match=r"your own: openprm prompts --declared math500 .* --on math500=cand"):
        math.place(tmp_path)
    rows = [candidate("p", i, f"It is \\boxed{{{i}}}.", reference="\\frac{2}{2}") for i in range(3)]
    (item,), failures = read(math, str(dataset(tmp_path / "folder", Candidate, rows)))
    assert not failures
    assert {one.text[-3]: right for one, right in zip(item.responses, item.facts["correct"], strict=True)} == {
        "0": 0.0,
        "1": 1.0,
        "2": 0.0,
    }
    with pytest.raises(InputError, match=r"'mmlu-pro' is not on the Hub; say where its file lies: --on mmlu-pro=FILE"):
        load_benchmark("mmlu-pro").place(tmp_path)


def test_the_answers_that_were_chosen(tmp_path: Path):
    rows = [one | {"set": "koala"} for one in answered("p", ("4", 1.0), ("5", 0.0), ("6", 0.0))]
    of = benchmark(columns={**COLUMNS, "source": "set"})
    items, _ = read(of, file(tmp_path, rows))
    given = measured(items, lambda item, i: item.responses[i].text.endswith("5"))
    expected = {"instruction": "What is p?", "output": "So. The answer is 5", "generator": "ours", "dataset": "koala"}
    assert of.chosen(given, "ours") == [expected]
    (tied,) = of.chosen(measured(items, lambda item, i: 0.0), "ours")
    assert tied["output"] == items[0].responses[0].text
