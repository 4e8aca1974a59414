"""Which benchmarks an evaluation reads, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openprm.errors import InputError
from openprm.evaluation.benchmarks import suites
from openprm.stages.evaluate import Evaluate

from ..answers import write_jsonl
from .pair_benchmarks import PAIRS, metric, results


def test_a_suite_leaves_out_what_cannot_be_read(tmp_path: Path, prm: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(suites.SUITES, "some", ("llmbar", "evalbiasbench", "rewardbench-like"))
    (tmp_path / "data" / "llmbar").mkdir(parents=True)
    (tmp_path / "data" / "evalbiasbench").mkdir()
    write_jsonl(tmp_path / "data/evalbiasbench/evalbiasbench.parquet", [{"no": "Parquet"}])
    stage = Evaluate(models={"prm": str(prm)}, suite="some", data=str(tmp_path / "data"))
    with pytest.raises(InputError, match=r"no benchmark of the suite can be read; .*not a complete Parquet file"):
        stage.run(tmp_path / "out")
    rows = [{**row, "id": str(i)} for i, row in enumerate(PAIRS)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data/llmbar/llmbar.parquet")
    Evaluate(models={"prm": str(prm)}, suite="some", data=str(tmp_path / "data")).run(tmp_path / "out")
    found = results(tmp_path / "out")
    assert [*found["benchmarks"]] == ["llmbar"]
    assert "not a complete Parquet file" in found["skipped"]["evalbiasbench"]
    assert "'rewardbench-like' is not on the Hub; say where" in found["skipped"]["rewardbench-like"]


def test_the_example_in_the_documents(tmp_path: Path, prm: Path):
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text("utf-8")
    for kind, name in (("yaml", "sums.yaml"), ("json", "sums.jsonl")):
        (tmp_path / name).write_text(text.split(f"```{kind}\n")[1].split("```")[0])
    on = {str(tmp_path / "sums.yaml"): str(tmp_path / "sums.jsonl")}
    Evaluate(models={"prm": str(prm)}, on=on).run(tmp_path / "out")
    result = results(tmp_path / "out")["benchmarks"]["sums"]
    assert (result["items"], result["skipped"]) == (3, {})
    won = [metric(result, "prm", subset=subset)["value"] for subset in ("plus", "minus", "halves")]
    assert metric(result, "prm")["value"] == pytest.approx(((2 * won[0] + won[1]) / 3 + won[2]) / 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"on": {}}, "no benchmark is named; choose one with --on, or several with --suite paper"),
        ({"kinds": {"k": ["x"]}}, "--kind names 'x', which is no model's name"),
        ({"probes": ["lenght"]}, "there is no probe 'lenght'; did you mean 'length'"),
        ({"models": {"length": "m"}}, "'length' is the name of a baseline; give the model another: NAME=MODEL"),
    ],
)
def test_options_that_cannot_be(values: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Evaluate(**{"models": {"m": "m"}, "on": {"llmbar": "f"}, **values})


def test_benchmarks_that_cannot_be(tmp_path: Path, prm: Path, pairs: str, sums: str):
    def run(on: dict[str, str]) -> None:
        Evaluate(models={"prm": str(prm)}, on=on).run(tmp_path / "out")

    for rows, message in (
        (
            [{"question": "q", "chosen": "a", "rejected": "b"}],
            r"no column 'prompt'; it has .*; name the column of question in the benchmark's `columns`",
        ),
        (
            [{**PAIRS[0], "rejected": ""}],
            "nothing of benchmark 'sums' can be measured; 1 rows were rejected, 1 of them",
        ),
    ):
        with pytest.raises(InputError, match=message):
            run({sums: write_jsonl(tmp_path / "other.jsonl", [{"subset": "s", **row} for row in rows])})
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(InputError, match="the file is empty"):
        run({sums: str(tmp_path / "none.jsonl")})
    (tmp_path / "again").mkdir()
    shutil.copy(sums, tmp_path / "again" / "sums.yaml")
    with pytest.raises(InputError, match=r"two benchmarks are called 'sums', one of them .*again"):
        run({sums: pairs, str(tmp_path / "again" / "sums.yaml"): pairs})
    with pytest.raises(InputError, match="there is no suite 'papers'; did you mean 'paper'"):
        Evaluate(models={"prm": str(prm)}, suite="papers").run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_probe_in_a_declaration_and_models_are_checked_before_anything_is_rewarded(
    tmp_path: Path, prm: Path, pairs: str
):
    file = tmp_path / "mine.yaml"
    file.write_text("title: Mine\nkind: pairs\nprobes: [lenght]\n")
    with pytest.raises(InputError, match="there is no probe 'lenght'; did you mean 'length'"):
        Evaluate(models={"prm": str(prm)}, on={str(file): pairs}).run(tmp_path / "out")
    file.write_text("title: Mine\nkind: pairs\nwhere: {subset: none}\n")
    with pytest.raises(InputError, match=r"no row has {'subset': 'none'}"):
        Evaluate(models={"prm": str(prm)}, on={str(file): pairs}).run(tmp_path / "out")
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match="other cannot be read as a model"):
        Evaluate(models={"prm": str(prm), "other": str(other)}, on={pairs: ""}).run(tmp_path / "out")
    assert not list(tmp_path.rglob("rewards"))
