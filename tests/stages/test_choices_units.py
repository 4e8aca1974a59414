"""Rewards of several units in one evaluation of choices."""

from __future__ import annotations

from pathlib import Path

import pytest

from openprm.errors import InputError
from openprm.runs.folder import read_rows
from openprm.schema import Candidate, Scored

from ..folders import candidate, dataset
from .evaluations import by_method, evaluate_models, results, scored


def test_each_unit_has_its_own_vote(tmp_path: Path):
    """One right answer at 6 against three wrong ones at 2: 403 to 22 by exp, 1.0 to 2.6 by sigmoid."""
    rows = [
        candidate("p", index, f"So {index}.\nThe answer is {5 + (index > 0)}", 1.0 - (index > 0)) for index in range(4)
    ]
    candidates = dataset(tmp_path / "candidates", Candidate, rows)
    made = [scored(row, [7.0, 6.0 if row["sample_index"] == 0 else 2.0]) for row in rows]
    units = {"old": None, "bt": "strength", "ce": "log-odds", "graded": "grade"}
    scores = {
        name: dataset(tmp_path / name, Scored, [{**row, "unit": unit} for row in made]) for name, unit in units.items()
    }
    assert {row["unit"] for row in read_rows(scores["old"], Scored)} == {"strength"}
    manifest = evaluate_models(candidates, scores, tmp_path / "out", equivalence="exact", curve=True)
    table = by_method(manifest)
    votes = {name: table.get(f"weighted vote@4: {name}/min") for name in units}
    assert votes == {"old": 1, "bt": 1, "ce": 0, "graded": None}
    assert {name: table[f"best of 4: {name}/min"] for name in units} == dict.fromkeys(units, 1)
    points = {(point["line"], point["n"]): point["accuracy"] for point in results(tmp_path / "out")["samples"]}
    assert {name: points.get((f"weighted vote: {name}/min", 4)) for name in units} == votes
    assert {name: kind["unit"] for name, kind in manifest["kinds"].items()} == {**units, "old": "strength"}

    prod = evaluate_models(candidates, {"ce": scores["ce"]}, tmp_path / "prod", aggregations=["prod"])
    assert by_method(prod)["best of 4: ce/prod"] == 1
    with pytest.raises(ValueError, match="'prod' multiplies probabilities, which rewards of the unit 'strength'"):
        evaluate_models(candidates, {"bt": scores["bt"]}, tmp_path / "wrong", aggregations=["prod"])
    with pytest.raises(InputError, match=r"of bt are of the unit 'strength', those of ce of 'log-odds'.*apart"):
        evaluate_models(candidates, scores, tmp_path / "wrong", kinds={"one": ["bt", "ce"]})
    both = [{**row, "unit": "value" if index else "grade"} for index, row in enumerate(made)]
    mixed = dataset(tmp_path / "mixed", Scored, both)
    with pytest.raises(InputError, match=r"mixed holds rewards of the units 'grade' and 'value'; score all responses"):
        evaluate_models(candidates, {"mixed": mixed}, tmp_path / "wrong")


def test_scores_of_before_there_were_units_are_strengths(tmp_path: Path):
    import pyarrow.parquet as pq

    rows = [candidate("p", index, f"So.\nThe answer is {index}", float(index)) for index in range(2)]
    scores = dataset(tmp_path / "old", Scored, [scored(row, [1.0]) for row in rows])
    for file in scores.rglob("*.parquet"):
        table = pq.read_table(file).drop_columns(["unit"])
        pq.write_table(table.replace_schema_metadata(None), file)
    assert [row["unit"] for row in read_rows(scores, Scored)] == ["strength"] * 2
