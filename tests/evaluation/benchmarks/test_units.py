"""Models whose rewards have other units, on one benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from openprm.evaluation.benchmarks.declaration import declare
from openprm.evaluation.benchmarks.items import Item, Measured, Response, Rewarded
from openprm.evaluation.benchmarks.summary import summarize
from openprm.evaluation.probes import PROBES
from openprm.scoring.aggregation import AGGREGATIONS
from openprm.scoring.units import UNITS

FACTS = {"correct": [1.0, 0.0, 0.0, 0.0], "answers": ["5", "6", "6", "6"], "models": [None] * 4, "subset": "s"}
ITEM = Item("p", [{"role": "user", "content": "?"}], tuple(map(Response, "abcd")), "p", FACTS)
PLAIN = declare("mine", {"title": "t", "kind": "choice", "equivalence": "exact", "probes": ["attacks"]}, "mine.yaml")


def views(unit: str, items: Sequence[Item] = (ITEM,)) -> dict[str, Measured]:
    """The first response at 6, all others at 2."""

    def rewarded(item: Item) -> list[Rewarded]:
        return [Rewarded((one.text,), (6.0 if one.text == "a" else 2.0,)) for one in item.responses]

    changed = {"": items, **PROBES["attacks"].views(items)}
    return {view: Measured(some, list(map(rewarded, some)), "last", unit) for view, some in changed.items()}


def test_units_are_not_mixed():
    results = summarize(PLAIN, [ITEM], {unit: [views(unit)] for unit in UNITS} | {"again": [views("strength")]})
    votes = {row["model"]: row["value"] for row in results["metrics"] if row["metric"] == "weighted vote"}
    assert votes == {"strength": 1, "log-ratio": 1, "again": 1, "log-odds": 0, "majority vote": 0}
    by_model: dict[str, set[str]] = {}
    for row in results["aggregations"]:
        by_model.setdefault(row["model"], set()).add(row["aggregation"])
    assert [model for model, names in by_model.items() if "prod" in names] == ["log-odds"]
    assert by_model["log-odds"] == {*AGGREGATIONS}
    told: dict[str, set[Any]] = {}
    for row in results["differences"]:
        told.setdefault(row["metric"], set()).add((row["model"], row["against"]))
    assert told["change"] == {("again", "strength")}  # in the unit of the scores
    assert len(told["beats the worse"]) == 15  # any two of six


@pytest.mark.parametrize(("unit", "dcs"), [("strength", 0.895), ("log-odds", -0.452), ("grade", None)])
def test_confidence_is_weighted_by_the_unit(unit: str, dcs: float | None):
    found = {one.name: one for one in PROBES["abstention"].statistics(views(unit))}
    assert ("DCS" in found) == (dcs is not None)
    if dcs is not None:  # (403 - 22) / 425, and (0.9975 - 2.6424) / 3.6399
        assert found["DCS"].of([[1.0]])[0] == pytest.approx(dcs, abs=1e-3)


def test_a_product_of_strengths_is_no_score():
    with pytest.raises(ValueError, match="'prod' multiplies probabilities, which rewards of the unit 'strength'"):
        replace(views("strength")[""], aggregation="prod")
