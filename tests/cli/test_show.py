"""`openprm show`, `curves` and `export`: every kind of dataset, and what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openprm.runs.folder import read_manifest, read_rows, write_shard
from openprm.runs.manifest import run_stage
from openprm.schema import Answer, Candidate, Message, Prompt, Scored

from ..answers import answers, write_jsonl
from ..folders import candidate, dataset
from .test_cli import ROWS, write

CANDIDATES = [candidate(prompt, index, f"Add.\n{index}", float(index)) for index in (0, 1) for prompt in ("p", "q")]
SCORES = [
    {name: row[name] for name in ("schema_version", "prompt_id", "source", "sample_index")}
    | {"steps": ["Add.\n", row["response"][-1]], "step_rewards": [0.5, 0.25 - row["sample_index"]]}
    | {"score": 0.25 - row["sample_index"], "aggregation": "min", "truncated": False}
    for row in CANDIDATES
]
SHOWN = """p (test)
user: What is p?

sample 0: score +0.250 (min), golden +0.000
   +0.500  Add.
   +0.250  0

sample 1: score -0.750 (min), golden +1.000
   +0.500  Add.
   -0.750  1
"""


def write_scores(candidates: Path, out: Path) -> Path:
    return dataset(out, Scored, SCORES, "score", {"candidates": candidates}, reward_column="reward")


def test_scores_beside_their_candidates(run):
    candidates = dataset(Path("runs/candidates"), Candidate, CANDIDATES)
    write_scores(candidates, Path("runs/scores"))
    assert run("show", "runs/scores") == (0, SHOWN, "")
    assert run("show", "runs/scores", "q")[1] == SHOWN.replace("p (", "q (").replace("p?", "q?")


def test_scores_elsewhere_and_of_a_file(run):
    candidates = dataset(Path("candidates"), Candidate, CANDIDATES)
    write_scores(candidates, Path("runs/scores"))
    out = run("show", "runs/scores")[1]
    assert out == SHOWN.replace("user: What is p?\n", "").replace(", golden +0.000", "").replace(", golden +1.000", "")
    assert "--candidates" in run("show", "runs/scores")[2]
    assert run("show", "runs/scores", "--candidates", "candidates")[1] == SHOWN
    rows = [{"prompt_id": "p", "question": "What is p?", "response": f"Add.\n{n}", "reward": n} for n in (0, 1)]
    write_jsonl(Path("a.jsonl"), rows)
    shown = SHOWN.replace("golden", "reward")
    assert run("show", "runs/scores", "--candidates", "a.jsonl")[1] == shown
    write_jsonl(Path("a.jsonl"), [{**row, "reward": None} for row in rows])
    dataset(Path("runs/candidates"), Candidate, CANDIDATES[:1])  # of that name, but others
    assert "golden" not in run("show", "runs/scores")[1]


def test_candidates_answers_and_prompts(run):
    dataset(Path("c"), Candidate, CANDIDATES)
    code, out, _ = run("show", "c", "q")
    assert (code, out.count("sample"), out.count("What is q?")) == (0, 2, 1)
    cost = dict.fromkeys(("budget", "n_considered", "generated_tokens", "scored_tokens", "merged", "stopped"), 1)
    found = {"steps": ["Add.\n", "0"], "step_rewards": [0.5, 1.0], "score": 0.5, "aggregation": "min", "method": "pbs"}
    dataset(Path("a"), Answer, [{**CANDIDATES[0], **found, **cost}])
    assert "sample 0: score +0.500 (min), golden +0.000\n   +0.500  Add.\n" in run("show", "a")[1]
    row = {name: CANDIDATES[0][name] for name in Prompt.__annotations__}
    dataset(Path("p"), Prompt, [{**row, "reference": "4"}])
    assert run("show", "p")[1] == "p (test)\nuser: What is p?\nreference: 4\n"


def test_pairs(run):
    write_jsonl(Path("a.jsonl"), answers(6))
    run("trees", "a.jsonl", "-o", "t", "--separator", "line")
    run("pairs", "t", "-o", "p", "--outcome", "best")
    pairs = [*read_rows("p")]
    code, out, _ = run("show", "p", pairs[-1]["prompt_id"])
    assert code == 0
    assert out.count("responses behind") == sum(pair["prompt_id"] == pairs[-1]["prompt_id"] for pair in pairs)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_export(run, fails, suffix):
    dataset(Path("c"), Candidate, CANDIDATES)
    code, out, _ = run("export", "c", "--out", f"a.{suffix}")
    assert (code, out) == (0, f"4 rows in a.{suffix}\n")
    assert run("import", f"a.{suffix}", "-o", "back")[0] == 0
    assert read_manifest("back")["row_hash"] == read_manifest("c")["row_hash"]
    assert "ends in .csv or .jsonl" in fails("export", "c", "--out", "a.txt")
    assert "c has no split 'test'" in fails("export", "c", "--split", "test", "--out", f"b.{suffix}")
    assert not Path(f"b.{suffix}").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("c", "x"), "c has no prompt 'x'; its first one is 'p'"),
        (
            ("other",),
            "other holds neither candidates, scores, labels, trees nor pairs: its columns are ['role', 'content']",
        ),
    ],
)
def test_nothing_to_show(fails, arguments, message):
    dataset(Path("c"), Candidate, CANDIDATES)
    write_shard(Path("other"), 0, [{"role": "user", "content": "q"}], Message)
    assert message in fails("show", *arguments)


def test_show(run, fails):
    write(*ROWS, {"question": "alone", "response": "x", "reward": 0, "prompt_id": "p"})
    for row in (rows := [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]):
        row.setdefault("prompt_id", "sum")
    write(*rows)
    run("trees", "a.jsonl", "-o", "t")
    code, out, _ = run("show", "t")
    assert code == 0
    assert out == run("show", "t", "sum")[1]
    assert out == (
        "sum (a), reward reward\nuser: 2 + 2?\n+0.500 ×2 all responses\n"
        "├── +1.000 ×1 Add.\n│          Four\n└── +0.000 ×1 Guess.\n           Five\n"
    )
    assert "+0.000 ×1 x" in run("show", "t", "p")[1]
    assert "t has no prompt 'other'; its first one is" in fails("show", "t", "other")


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("t", "t has no tree that branches"),
        ("empty", "empty has no data/train-*.parquet"),
        ("nowhere", "nowhere is neither a folder nor a dataset that can be opened"),
        ("a.jsonl", "a.jsonl is a file; give a folder that openprm made"),
    ],
)
def test_no_tree_to_show(run, fails, folder, message, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # the Hub's client waits before it tries again
    write(ROWS[0])
    run("trees", "a.jsonl", "-o", "t")
    Path("empty").mkdir()
    assert message in fails("show", folder)


def test_curves_of_a_run_are_grouped_by_what_differs_only_in_the_seed(run):
    for name, seed in (("orm-0", 0), ("orm-1", 1), ("openprm", 0)):

        def work(folder: Path) -> dict[str, Any]:
            (folder / "curve.csv").write_text("step,loss,eval_accuracy\n1,0.5,\n2,0.25,0.75\n")
            return {"files_hash": "", "counts": {}}

        run_stage(Path("mine", name), "train", {"seed": seed}, {}, work)
    Path("mine/pairs").mkdir()
    assert run("curves", "mine", "--out", "all.svg") == (0, "all.svg: openprm (1), orm (2)\n", "")
    assert "<!-- openprm -->" in Path("all.svg").read_text()
    assert run("curves", "mine/orm-0")[1] == "curves.png: orm (1)\n"
    code, _, said = run("curves", "mine/pairs")
    assert (code, said) == (1, "openprm: no curve.csv in mine/pairs; name models of openprm train, or a run\n")
