"""Benchmarks of pairs: published numbers, numbers by hand, and rows that are none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.errors import Failure, InputError
from openprm.evaluation.benchmarks.baselines import RandomScore, rewarded_by
from openprm.evaluation.benchmarks.declaration import Benchmark, declare, load_benchmark
from openprm.evaluation.benchmarks.items import Item, Measured, Response, Rewarded
from openprm.evaluation.bootstrap import draw_weights, estimate

from ...public_data import helpsteer2_rows

#: Of PKU-Alignment/beaver-7b-v1.0-cost: its accuracies as RewardBench's README has them
#: (github.com/allenai/reward-bench), and what `calculate_scores_per_section` of rewardbench 0.1.4 makes of them.
BEAVER = {
    **{"alpacaeval-easy": 0.5, "alpacaeval-hard": 0.7052631578947368, "alpacaeval-length": 0.5894736842105263},
    **{"donotanswer": 0.8235294117647058, "hep-cpp": 0.6280487804878049, "hep-go": 0.6341463414634146},
    **{"hep-java": 0.7073170731707317, "hep-js": 0.6646341463414634, "hep-python": 0.5487804878048781},
    **{"hep-rust": 0.6463414634146342, "llmbar-adver-GPTInst": 0.391304347826087, "llmbar-natural": 0.52},
    **{"llmbar-adver-GPTOut": 0.46808510638297873, "llmbar-adver-manual": 0.3695652173913043},
    **{"llmbar-adver-neighbor": 0.43283582089552236, "math-prm": 0.2953020134228188},
    **{"mt-bench-easy": 0.5714285714285714, "mt-bench-hard": 0.5405405405405406, "mt-bench-med": 0.725},
    **{"refusals-dangerous": 0.97, "refusals-offensive": 1.0, "xstest-should-refuse": 1.0},
    **{"xstest-should-respond": 0.284},
}
BEAVER_SECTIONS = {
    **{"Chat": 0.6089385474860335, "Chat Hard": 0.44956140350877194},
    **{"Safety": 0.7216216216216216, "Reasoning": 0.46675669776831996},
}
#: Scores and sections as the leaderboard had them, with prior sets until 2024-09 and without them since.
LEADERBOARD = [
    (83.6, {"Chat": 99.4, "Chat Hard": 65.1, "Safety": 87.8, "Reasoning": 86.4, "Prior Sets": 74.9}),  # FsfairX-LLaMA3
    (84.4, {"Chat": 99.4, "Chat Hard": 65.1, "Safety": 86.8, "Reasoning": 86.4}),
    (89.0, {"Chat": 96.9, "Chat Hard": 76.8, "Safety": 92.2, "Reasoning": 97.3, "Prior Sets": 74.3}),  # ArmoRM-Llama3
]
#: Of RewardBench 2, from the README of github.com/schrieffer-z/sarm: Llama-SARM-4B, Skywork-Reward-Llama-3.1-8B-v0.2.
LEADERBOARD_2 = [
    (73.79, (68.74, 42.81, 64.48, 91.78, 95.56, 79.39)),
    (71.75, (69.68, 40.63, 60.11, 94.22, 94.14, 71.69)),
]


def measured(scores: Iterable[tuple[str, Sequence[float | None]]]) -> Measured:
    """Items of a subset each, with the rewards of their responses: the chosen one first."""
    rows = list(scores)
    items = [
        Item(f"row {i}", [], tuple(Response(str(j)) for j in range(len(some))), f"{i}", {"subset": subset})
        for i, (subset, some) in enumerate(rows)
    ]
    given = [[Rewarded() if one is None else Rewarded(("s",), (one,)) for one in some] for _, some in rows]
    return Measured(items, given)


def won(subset: str, n: int, wins: float) -> list[tuple[str, Sequence[float]]]:
    return [(subset, (1.0, 0.0) if i < round(wins) else (0.0, 1.0)) for i in range(n)]


def values(benchmark: Benchmark, of: Measured) -> dict[tuple[str, str], float]:
    ones = np.ones((1, len(of.items)))
    return {(one.name, one.subset): float(one.of(ones)[0]) for one in benchmark.statistics(of)}


def test_sections_of_rewardbench_as_its_own_code_has_them():
    benchmark: Any = load_benchmark("rewardbench")
    counts = {subset: int(n) for subsets in benchmark.sections.values() for subset, n in subsets.items()}
    counts["math-prm"] = 447
    found = measured(
        row for subset, share in BEAVER.items() for row in won(subset, counts[subset], share * counts[subset])
    )
    assert len(found.items) == 2985
    got = values(benchmark, found)
    assert {subset: got["accuracy", subset] for subset in BEAVER} == pytest.approx(BEAVER, abs=1e-12)
    assert {section: got["score", section] for section in BEAVER_SECTIONS} == pytest.approx(BEAVER_SECTIONS, abs=1e-12)
    assert got["score", ""] == pytest.approx(np.mean([*BEAVER_SECTIONS.values()]), abs=1e-12)
    n = {(one.name, one.subset): one.n for one in benchmark.statistics(found)}
    assert (n["score", ""], n["score", "Reasoning"], n["accuracy", "math-prm"]) == (2985, 447 + 984, 447)


@pytest.mark.parametrize(("score", "sections"), LEADERBOARD)
def test_scores_of_rewardbench_with_and_without_prior_sets(score: float, sections: Mapping[str, float]):
    benchmark: Any = load_benchmark("rewardbench")
    rows = [
        row for name, share in sections.items() for row in won(next(iter(benchmark.sections[name])), 1000, share * 10)
    ]
    found = measured(rows)
    assert 100 * values(benchmark, found)["score", ""] == pytest.approx(score, abs=0.05)
    said = benchmark.arithmetic(found.items)
    assert ("Prior Sets (weight 0.5)" in said, "without Prior Sets" in said) == (
        len(sections) == 5,
        len(sections) == 4,
    )


@pytest.mark.parametrize(("score", "subsets"), LEADERBOARD_2)
def test_scores_of_rewardbench_2(score: float, subsets: Sequence[float]):
    benchmark: Any = load_benchmark("rewardbench-2")
    names = ("Factuality", "Precise IF", "Math", "Safety", "Focus", "Ties")
    assert tuple(benchmark.sections) == names
    found = measured(row for name, share in zip(names, subsets, strict=True) for row in won(name, 1000, share * 10))
    as_shares = benchmark.model_copy(update={"ties": None})  # as if Ties were won or lost, too
    assert 100 * values(as_shares, found)["score", ""] == pytest.approx(score, abs=0.05)


def test_the_best_of_four_by_hand():
    rows: list[tuple[str, Sequence[float | None]]] = [
        ("Math", (2, 1, 0, -1)),  # right
        ("Math", (2, 2, 2, 1)),  # a third
        ("Focus", (1, 1, 0, 0)),  # half
        ("Focus", (0, 1, 0, 0)),
        ("Focus", (3, 1, 0, None)),  # not wholly rewarded
        ("Other", (3, 1, 0, 0)),
    ]
    benchmark = load_benchmark("rewardbench-2")
    got = values(benchmark, measured(rows))
    assert got == pytest.approx(
        {
            ("score", ""): (4 / 6 + 1 / 6) / 2,
            ("score", "Math"): 4 / 6,
            ("score", "Focus"): 1 / 6,
            ("accuracy", "Other"): 1.0,
        }
    )
    said = benchmark.arithmetic(measured(rows).items) or ""
    assert said.startswith("the mean of Math, Focus, each of which")
    assert "a tie is shared" in said
    assert said.endswith("without Factuality, Precise IF, Safety, Ties; not in it: 'Other'")
    with pytest.raises(InputError, match="no row is of a subset in its sections; check the column"):
        benchmark.arithmetic(measured(rows[-1:]).items)


def test_a_tie_is_a_loss_and_so_is_what_could_not_be_rewarded():
    rows: list[tuple[str, Sequence[float | None]]] = [
        *(("a", (1, 0)), ("a", (0, 0)), ("b", (0, 1)), ("b", (1, None)), ("b", (None, 0)), ("b", (None, None)))
    ]
    benchmark = declare("mine", {"kind": "pairs", "title": "t"}, "mine.yaml")
    assert values(benchmark, measured(rows)) == {("accuracy", ""): 1 / 6, ("accuracy", "a"): 0.5, ("accuracy", "b"): 0}
    assert "a tie is a loss" in (benchmark.arithmetic(measured(rows).items) or "")


@pytest.mark.parametrize(("name", "rejected", "chance"), [("rewardbench-2", 3, 0.25), ("rewardbench", 1, 0.5)])
def test_random_scores_are_at_chance(name: str, rejected: int, chance: float):
    benchmark: Any = load_benchmark(name)
    subset = next(iter(next(iter(benchmark.sections.values()))))
    items = [
        Item(f"{i}", [], tuple(Response(f"{i}.{j}") for j in range(rejected + 1)), f"{i}", {"subset": subset})
        for i in range(400)
    ]
    by_seed = [next(benchmark.statistics(rewarded_by(RandomScore(seed), {"": items})[""])) for seed in range(10)]
    found = estimate([one.of(np.ones((1, 400))) for one in by_seed])
    assert found["value"] == pytest.approx(chance, abs=0.03)  # 4 standard errors or more
    assert len(set(found["seeds"])) > 1


def test_draws_without_a_subset_are_left_out():
    benchmark = load_benchmark("rewardbench")
    found = measured([("math-prm", (1, 0)), ("hep-go", (0, 1)), ("donotanswer", (1, 0))])
    score, *_ = benchmark.statistics(found)
    drawn = score.of(draw_weights([item.id for item in found.items]))
    assert np.isnan(drawn).any()
    assert not np.isnan(drawn).all()
    by_hand = (984 / (984 + 164) + 1) / 2
    assert estimate([drawn])["value"] == by_hand
    assert drawn[~np.isnan(drawn)] == pytest.approx(by_hand)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 3), min_size=2, max_size=4)), min_size=1))
def test_accuracies_are_plain_shares(rows: list[tuple[str, list[float]]]):
    benchmark = declare("mine", {"kind": "pairs", "title": "t", "sections": {"s": {"a": 3, "b": 1}}}, "mine.yaml")
    got = values(benchmark.model_copy(update={"sections": {}}), measured(rows))
    right = [(subset, some[0] > max(some[1:])) for subset, some in rows]
    assert got["accuracy", ""] == pytest.approx(np.mean([one for _, one in right]))
    for subset in {name for name, _ in rows}:
        assert got["accuracy", subset] == pytest.approx(np.mean([one for name, one in right if name == subset]))
    if {"a", "b"} <= {name for name, _ in rows}:
        weighed = (3 * got["accuracy", "a"] + got["accuracy", "b"]) / 4
        assert values(benchmark, measured(rows))["accuracy", ""] == pytest.approx(weighed)


def read(benchmark: Benchmark, folder: Path, *rows: Mapping[str, Any]) -> tuple[list[Item], list[str]]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(benchmark.read(str(path)))
    texts = [str(one).removeprefix(str(path)).removeprefix(", ") for one in found if isinstance(one, Failure)]
    return [one for one in found if isinstance(one, Item)], texts


def texts(item: Item) -> list[str]:
    return [response.text for response in item.responses]


def test_the_better_response_is_the_chosen_one(tmp_path: Path):
    row = {"instruction": "q", "response1": "one", "response2": "two", "bias": "length bias", "id": "x"}
    rows = [{**row, "label": "1"}, {**row, "label": 2, "id": "y"}, {**row, "label": "3"}, {**row, "label": None}]
    rows += [{**row, "label": "1", "response2": ""}]
    items, failures = read(load_benchmark("evalbiasbench"), tmp_path, *rows)
    assert [(item.id, *texts(item), item.facts["subset"]) for item in items] == [
        ("x", "one", "two", "length bias"),
        ("y", "two", "one", "length bias"),
    ]
    assert failures == [
        "row 3: 'label' is '3'; say which is better, 1 or 2",
        "row 4: 'label' is None; say which is better, 1 or 2",
        "row 5: the answer in 'response2' is empty; leave the row out",
    ]


def test_several_responses_on_a_side(tmp_path: Path):
    row = {"prompt": "q", "chosen": ["a"], "rejected": ["b", "c", "d"], "subset": "Math", "id": "1"}
    tied = {"prompt": "q", "chosen": ["a", "b"], "rejected": ["c"], "subset": "Ties"}
    rows = [row, {**tied, "id": "ref:7"}, {**tied, "id": "tied:7"}, {**tied, "id": "7"}, {**row, "rejected": []}]
    items, failures = read(load_benchmark("rewardbench-2"), tmp_path, *rows)
    assert [texts(item) for item in items] == [["a", "b", "c", "d"], ["a", "b", "c"], ["a", "b", "c"]]
    assert [item.facts["right"] for item in items] == [1, 2, 2]
    assert items[1].prompt == items[2].prompt != items[0].prompt
    assert failures == [
        "row 4: the id '7' is neither ref:N nor tied:N; name the column of the id",
        "row 5: there is no chosen or no rejected response; leave the row out",
    ]


def test_a_file_of_pairs_is_a_benchmark(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    chats = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": text}] for text in "ab"]
    for row in ({"prompt": "q", "chosen": "a", "rejected": "b"}, {"chosen": chats[0], "rejected": chats[1]}):
        path.write_text(json.dumps(row) + "\n")
        benchmark = load_benchmark(str(path))
        [item] = benchmark.read(str(path))
        assert isinstance(item, Item)
        assert (benchmark.name, item.id, texts(item)) == ("answers", "row 1", ["a", "b"])
        assert [turn["content"] for turn in item.question] == ["q"]


def test_rows_that_are_no_pairs(tmp_path: Path):
    good = {"prompt": "q", "chosen": "a", "rejected": "b"}
    rows = [good, {**good, "rejected": "a"}, {**good, "chosen": ""}, {**good, "prompt": ""}, {**good, "rejected": 3}]
    items, failures = read(declare("mine", {"kind": "pairs", "title": "t"}, "mine.yaml"), tmp_path, *rows)
    assert [item.id for item in items] == ["row 1"]
    assert failures == [
        "row 2: chosen and rejected are the same text; leave the row out: it holds no preference",
        "row 3: the answer in 'chosen' is empty; leave the row out",
        "row 4: 'prompt' is empty; give the row a question, or leave it out",
        "row 5: 'rejected' is neither a text nor a chat that ends with an answer; give one of the two",
    ]


def test_pairs_by_helpfulness_without_ties(tmp_path: Path):
    benchmark = load_benchmark("helpsteer2-validation")
    assert benchmark.place() == "nvidia/HelpSteer2@990b2711a36180dd19d9c94b8627844866f8982a"
    pairs = [("one", [("a", 1), ("b", 3)]), ("two", [("c", 2), ("d", 2)]), ("three", [("e", 4), ("f", 0)])]
    items, failures = read(benchmark, tmp_path, *(row for pair in pairs for row in helpsteer2_rows(pair)))
    assert [(item.id, *texts(item)) for item in items] == [("pair 1", "b", "a"), ("pair 2", "e", "f")]
    assert failures == [": both responses are rated the same; none is chosen, so nothing is measured"]


def test_ultrafeedback_is_read_as_the_source_is(tmp_path: Path):
    benchmark = load_benchmark("ultrafeedback-test")
    assert (benchmark.split, benchmark.license) == ("test_prefs", "MIT")
    chats = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": text}] for text in "ab"]
    row = {"prompt": "q", "chosen": chats[0], "rejected": chats[1], "score_chosen": 8.0, "score_rejected": 5.0}
    items, failures = read(benchmark, tmp_path, row, {**row, "score_rejected": 8.0})
    assert ([texts(item) for item in items], len(failures)) == ([["a", "b"]], 1)
