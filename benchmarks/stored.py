"""`python -m benchmarks.stored DATA_FOLDER BASE OUT`: an OpenPRM on responses that somebody else stored.

DATA_FOLDER holds gsm8k/candidates.parquet, mmlu_pro/candidates.parquet and mmlu_pro/problems.parquet: one response of
each of many models to each question, with a reward of 0 or 1 by whoever published them, and a column `split`. BASE is
the encoder to start from. Trees and pairs are of the train splits, one reward model is trained on both, and what it is
measured on are questions of the test splits, each with the responses of the same 16 models.

Among answers of different models a choice is good that only knows which model is strong. So that choice stands beside
the others (each candidate scored by its model's mean reward on the train split), and the 16 models are four times four
of about equal strength, within which it knows little.

All is made by stages in OUT: what is finished is not made again.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openprm.data_stages import make_candidates, make_pairs, make_trees
from openprm.mapping import Columns
from openprm.pairs import MinGap, PairParameters
from openprm.report import print_summary
from openprm.scoring_stage import score_candidates
from openprm.source import CandidateSource
from openprm.stages import write_whole
from openprm.training_stage import train_model
from openprm.tree import MergeParameters

DATASETS = ("gsm8k", "mmlu_pro")
TIERS, MODELS = 4, 4
TRAIN_PROMPTS, TEST_PROMPTS = 500, 150
LETTERS = "ABCDEFGHIJ"
#: Each dataset's pattern of a final answer, for votes (see `openprm.rewards.extract_answer`).
ANSWERS = {"gsm8k": "answer", "mmlu_pro": "choice"}


@dataclass(frozen=True)
class Stored:
    """A dataset's rows of both splits, and the models to measure, by tiers of about equal strength."""

    train: pa.Table
    test: pa.Table
    strength: dict[str, float]
    tiers: list[list[str]]


def stored(folder: Path, name: str) -> Stored:
    table = pq.read_table(folder / name / "candidates.parquet")
    if name == "mmlu_pro":
        table = _with_options(table, folder / name / "problems.parquet")
    train, test = (table.filter(pc.equal(table["split"], split)) for split in ("train", "test"))
    by_model: dict[str, list[float]] = defaultdict(list)
    for row in train.select(["model", "reward"]).to_pylist():
        by_model[row["model"]].append(row["reward"])
    most = max(map(len, by_model.values()))
    strength = {model: fmean(rewards) for model, rewards in by_model.items() if len(rewards) > 0.95 * most}
    return Stored(train, test, strength, tiers(strength))


def tiers(strength: dict[str, float]) -> list[list[str]]:
    """Of each quarter of the models, by strength, the four neighbours that are closest together."""
    ranked = sorted(strength, key=lambda model: (strength[model], model))
    quarters = [ranked[len(ranked) * i // TIERS : len(ranked) * (i + 1) // TIERS] for i in range(TIERS)]
    return [
        min(
            (quarter[start : start + MODELS] for start in range(len(quarter) - MODELS + 1)),
            key=lambda four: strength[four[-1]] - strength[four[0]],
        )
        for quarter in quarters
    ]


def _with_options(table: pa.Table, problems: Path) -> pa.Table:
    questions = {
        row["prompt_id"]: "\n".join([row["question"], *map("{}. {}".format, LETTERS, row["options"])])
        for row in pq.read_table(problems).to_pylist()
    }
    return table.append_column("question", pa.array([questions[name.as_py()] for name in table["prompt_id"]]))


def drawn(table: pa.Table, count: int, models: Sequence[str]) -> pa.Table:
    """The rows of so many prompts that all of the models have answered, drawn by a seed; the models in their order."""
    rows = table.filter(pc.is_in(table["model"], pa.array(models)))
    answered = rows.group_by("prompt_id").aggregate([("model", "count_distinct")]).to_pylist()
    whole = sorted(row["prompt_id"] for row in answered if row["model_count_distinct"] == len(models))
    wanted = random.Random(0).sample(whole, min(count, len(whole)))
    rows = rows.filter(pc.is_in(rows["prompt_id"], pa.array(wanted)))
    place = {model: index for index, model in enumerate(models)}
    order = pa.array([place[model.as_py()] for model in rows["model"]])
    return rows.append_column("place", order).sort_by([("prompt_id", "ascending"), ("place", "ascending")])


def prepare(folder: Path, out: Path) -> None:
    """Candidates of both splits, and trees and pairs of the train split."""
    for name in DATASETS:
        data = stored(folder, name)
        chosen = [model for tier in data.tiers for model in tier]
        parts = {
            "train": drawn(data.train, TRAIN_PROMPTS, list(data.strength)),
            "test": drawn(data.test, TEST_PROMPTS, chosen),
        }
        out.mkdir(parents=True, exist_ok=True)
        about = {"strength": data.strength, "tiers": data.tiers}
        write_whole(out / f"{name}.json", json.dumps(about, indent=2) + "\n")
        for split, rows in parts.items():
            file = out / f"{name}-{split}.parquet"
            pq.write_table(rows.select(["prompt_id", "question", "model", "response", "reward"]), file)
            source = CandidateSource(
                str(file), Columns(prompt_id="prompt_id", model="model"), source=name, reward_name="golden"
            )
            print_summary(make_candidates(source, out / f"{name}-{split}"), out / f"{name}-{split}")
        merging = MergeParameters("sentence", distinct_numbers=True)
        trees = out / f"{name}-trees"
        print_summary(make_trees(CandidateSource(str(out / f"{name}-train")), trees, merging), trees)
        pairs = out / f"{name}-pairs"
        taken = PairParameters(select="max", outcome="best")
        print_summary(make_pairs(trees, pairs, MinGap.parse("0.2"), taken), pairs)


def train(base: Path, out: Path) -> None:
    options = {
        "learning_rate": 5e-5,
        "num_train_epochs": 1,
        "batch_size": 32,
        "per_device_train_batch_size": 16,
        "max_length": 384,
        "warmup_steps": 10,
        "save_steps": 20,
        "logging_steps": 10,
    }
    pairs = {name: out / f"{name}-pairs" for name in DATASETS}
    print_summary(train_model(pairs, base, out / "openprm", options), out / "openprm")


def score(out: Path) -> None:
    for name in DATASETS:
        scores = out / f"{name}-scores"
        print_summary(score_candidates(CandidateSource(str(out / f"{name}-test")), out / "openprm", scores), scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    prepare(given.data, given.out)
    train(given.base, given.out)
    score(given.out)


if __name__ == "__main__":
    main()
