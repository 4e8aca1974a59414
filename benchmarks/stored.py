"""`python -m benchmarks.stored DATA_FOLDER BASE OUT`: an OpenPRM trained on stored responses of other models.

DATA_FOLDER has gsm8k/candidates.parquet, mmlu_pro/candidates.parquet and mmlu_pro/problems.parquet: one response from
each of many models to each question, with a reward of 0 or 1 from the source, and a column `split`. BASE is the
encoder to start from. One reward model is trained on pairs of both train splits, and measured on questions of the test
splits, each with responses of the same 16 models.

Among answers of different models, knowing which model is strong is enough for good choices. So results are shown
beside that choice (the score is the model's mean reward on the train split), and also within four groups of four
models of about equal strength.

Stages write everything into OUT and skip what is finished.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openprm.cli.report import print_summary, print_table
from openprm.decoding.selection import coverage, expected_best_of_n, expected_vote
from openprm.evaluation.accuracy import PromptCandidates, aggregated_scores, mean_interval
from openprm.evaluation.scaling import curve_sizes, scaling_curve
from openprm.rewards.exact_answer import normalize
from openprm.runs.atomic import write_whole
from openprm.runs.console import say
from openprm.runs.declaration import Stage
from openprm.runs.folder import read_rows
from openprm.schema import Candidate, Scored
from openprm.stages.import_candidates import ImportCandidates
from openprm.stages.pairs import Pairs
from openprm.stages.score import Score
from openprm.stages.train import Train
from openprm.stages.trees import Trees

DATASETS = ("gsm8k", "mmlu_pro")
TIERS, MODELS = 4, 4
TRAIN_PROMPTS, TEST_PROMPTS = 500, 150
LETTERS = "ABCDEFGHIJ"
#: The scorer that only knows which model is strong.
PICKER = "model strength"
Prompts = list[PromptCandidates]


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
    """The four neighbors that are closest together in each quarter of the models by strength."""
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
            stage = ImportCandidates(
                candidates=str(file), id_column="prompt_id", model_column="model", source=name, reward_name="golden"
            )
            make(stage, out / f"{name}-{split}")
        trees, pairs = out / f"{name}-trees", out / f"{name}-pairs"
        make(Trees(candidates=str(out / f"{name}-train"), separator="sentence", distinct_numbers=True), trees)
        make(Pairs(trees=str(trees), min_gap="0.2", outcome="best"), pairs)


def make(stage: Stage, out: Path) -> None:
    """Makes a folder and prints its summary."""
    print_summary(stage.run(out), out)


def train(base: Path, out: Path) -> None:
    stage = Train(
        pairs={name: str(out / f"{name}-pairs") for name in DATASETS},
        base=str(base),
        learning_rate=5e-5,
        batch_size=32,
        per_device_batch_size=16,
        max_length=384,
        warmup_steps=10,
        save_minutes=1,
    )
    make(stage, out / "openprm")


def score(out: Path) -> None:
    for name in DATASETS:
        make(Score(candidates=str(out / f"{name}-test"), model=str(out / "openprm")), out / f"{name}-scores")


def measure(folder: Path, out: Path) -> None:
    """Prints the curves of both datasets, among all models and within tiers, and writes OUT/results.json."""
    results: dict[str, Any] = {}
    for name in DATASETS:
        prompts = measured(folder, out, name)
        within = [[_within(prompt, tier) for tier in range(TIERS)] for prompt in prompts]
        results[name] = {
            "all models": {"curve": scaling_curve(prompts), "pairs": pairs_won(prompts)},
            "models of about equal strength": {
                "curve": mean_curve(within),
                "pairs": pairs_won([part for parts in within for part in parts]),
            },
        }
        for among, found in results[name].items():
            _print(f"{name}: {len(prompts)} prompts, {among}", found)
    write_whole(out / "results.json", json.dumps(results, indent=2) + "\n")


def measured(folder: Path, out: Path, name: str) -> Prompts:
    """The test prompts with the scores of all their candidates; the answers are those that the source read."""
    strength = json.loads((out / f"{name}.json").read_text("utf-8"))["strength"]
    stated = pq.read_table(folder / name / "candidates.parquet", columns=["prompt_id", "model", "pred"]).to_pylist()
    preds = {(row["prompt_id"], row["model"]): row["pred"] for row in stated}
    scored = {(row["prompt_id"], row["sample_index"]): row for row in read_rows(out / f"{name}-scores", Scored)}
    grouped: dict[str, list[Any]] = defaultdict(list)
    for row in read_rows(out / f"{name}-test", Candidate):
        grouped[row["prompt_id"]].append(row)
    prompts = []
    for prompt_id, rows in grouped.items():
        steps = [scored.get((prompt_id, row["sample_index"]), {"step_rewards": []})["step_rewards"] for row in rows]
        models = [row["generator"]["model"] for row in rows]
        scores = aggregated_scores({"openprm": steps}, ("min", "mean", "last"))
        scores[PICKER] = [strength[model] for model in models]
        answers = [preds[prompt_id, model] for model in models]
        prompts.append(
            PromptCandidates(
                responses=[row["response"] for row in rows],
                correct=[row["rewards"][0]["value"] for row in rows],
                answers=[normalize(answer) if answer else None for answer in answers],
                scores=scores,
            )
        )
    return prompts


def _within(prompt: PromptCandidates, tier: int) -> PromptCandidates:
    places = range(tier * MODELS, (tier + 1) * MODELS)
    return PromptCandidates(
        responses=[prompt["responses"][place] for place in places],
        correct=[prompt["correct"][place] for place in places],
        answers=[prompt["answers"][place] for place in places],
        scores={name: [values[place] for place in places] for name, values in prompt["scores"].items()},
    )


def mean_curve(within: Sequence[Prompts]) -> list[dict[str, Any]]:
    """Best of n, vote and coverage within each tier, averaged over a prompt's tiers: the prompt stays the unit."""
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for parts in within:
        for n in curve_sizes(MODELS):
            for scorer in parts[0]["scores"]:
                best = [expected_best_of_n(part["scores"][scorer], part["correct"], n) for part in parts]
                values[f"best of n: {scorer}", n].append(fmean(best))
            values["coverage", n].append(fmean(coverage(part["correct"], n) for part in parts))
        votes = [expected_vote(part["answers"], part["correct"]) for part in parts]
        values["majority vote", MODELS].append(fmean(votes))
    points = []
    for (line, n), found in values.items():
        low, high = mean_interval(found)
        points.append({"line": line, "n": n, "accuracy": fmean(found), "low": low, "high": high})
    return points


def pairs_won(prompts: Prompts) -> dict[str, float]:
    """By scorer, the share of pairs (a right and a wrong answer to one prompt) whose right answer scores higher.

    A tie counts half, and each prompt as much as it has pairs.
    """
    won: dict[str, list[float]] = defaultdict(list)
    for prompt in prompts:
        right = [place for place, value in enumerate(prompt["correct"]) if value]
        wrong = [place for place, value in enumerate(prompt["correct"]) if not value]
        for scorer, scores in prompt["scores"].items():
            won[scorer] += [(scores[a] > scores[b]) + (scores[a] == scores[b]) / 2 for a, b in product(right, wrong)]
    return {scorer: fmean(found) for scorer, found in won.items()}


def _print(title: str, found: dict[str, Any]) -> None:
    sizes = sorted({point["n"] for point in found["curve"]})
    rows: dict[str, dict[int, str]] = defaultdict(dict)
    for point in found["curve"]:
        shown = f"{point['accuracy']:.3f} ({point['low']:.3f} to {point['high']:.3f})"
        rows[point["line"]][point["n"]] = shown
    print_table(
        title,
        ["choice", *(f"of {n}" for n in sizes)],
        [[line, *(cells.get(n, "") for n in sizes)] for line, cells in rows.items()],
    )
    say("right above wrong: " + ", ".join(f"{name} {share:.3f}" for name, share in found["pairs"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    prepare(given.data, given.out)
    train(given.base, given.out)
    score(given.out)
    measure(given.data, given.out)


if __name__ == "__main__":
    main()
