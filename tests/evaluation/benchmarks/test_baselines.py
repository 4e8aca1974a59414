"""What needs no model: chance at each aggregation, and what models are compared with."""

from __future__ import annotations

import pytest

from openprm.evaluation.benchmarks.baselines import baselines, is_baseline, random_score
from openprm.evaluation.benchmarks.declaration import declare
from openprm.evaluation.benchmarks.items import Item, Measured, Response, Rewarded
from openprm.evaluation.benchmarks.summary import summarize

QUESTION = [{"role": "user", "content": "Which?"}]
#: The better response has one step, the worse has three.
ITEMS = [
    Item(
        str(n), QUESTION, (Response(f"{n}", (f"{n}",)), Response(f"x{n}yz", (f"x{n}", "y", "z"))), facts={"subset": ""}
    )
    for n in range(400)
]


def summary(aggregation: str) -> dict:
    measured = Measured(ITEMS, [[Rewarded(("a",), (1.0,)), Rewarded(("b",), (0.0,))]] * len(ITEMS), aggregation)
    kinds = {"model": [{"": measured}], **baselines({"": ITEMS}, {aggregation: measured.unit})}
    return summarize(declare("pairs", {"kind": "pairs", "title": "Pairs"}, "pairs"), ITEMS, kinds)


def test_the_random_score_by_min_prefers_few_steps_and_by_last_is_even():
    found = {row["model"]: row["value"] for row in summary("min")["metrics"]}
    assert found["random score"] == pytest.approx(0.5, abs=0.03)  # 10 seeds of 400 pairs: a deviation of 0.008
    assert found["random score, min"] == pytest.approx(0.75, abs=0.03)  # one number is above the least of three
    assert found["length"] == 0.0


@pytest.mark.parametrize(("aggregation", "chance"), [("last", "random score"), ("min", "random score, min")])
def test_a_model_is_compared_with_the_random_score_by_its_own_aggregation(aggregation: str, chance: str):
    found = summary(aggregation)
    assert {row["against"] for row in found["differences"]} == {chance, "length"}
    assert {row["model"] for row in found["differences"]} == {"model"}
    assert {row["model"] for row in found["aggregations"]} == {"model", "random score", "length"}


def test_names_of_baselines():
    assert random_score(None) == random_score("last") == "random score"
    assert [is_baseline(name) for name in ("length", "random score", "random score, mean", "random")] == [True] * 3 + [
        False
    ]
