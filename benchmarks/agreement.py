"""Golden rewards against the labels of real data: `python -m benchmarks.agreement DATA_FOLDER`.

DATA_FOLDER has gsm8k/candidates.parquet, mmlu_pro/candidates.parquet and mmlu_pro/problems.parquet (responses of many
models, with `pred` and `reward` from their source) and math/math500.parquet (reference solutions, which state the
right answer by definition). Labels may be wrong: read the disagreements, which are printed too.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from openprm.cli.report import print_table
from openprm.rewards.base import UNPARSABLE, RuleRewarder
from openprm.rewards.exact_answer import extract_answer, golden_rule
from openprm.rewards.math_answer import mathematics_rule, stated_expression
from openprm.rewards.multiple_choice import choice_rule, read_options, stated_option
from openprm.runs.console import console, say, styled
from openprm.schema import SCHEMA_VERSION, Candidate, Message, generated_by

LETTERS = "ABCDEFGHIJ"
Extract = Callable[[Candidate], str | None]


class Labelled(NamedTuple):
    """A response with the answer that others read in it, and their label: 1.0 right, 0.0 wrong."""

    candidate: Candidate
    pred: str | None
    label: float


class Disagreement(NamedTuple):
    labelled: Labelled
    ours: float
    answer: str | None


def gsm8k(folder: Path) -> Iterator[Labelled]:
    for row in _rows(folder / "gsm8k/candidates.parquet"):
        yield Labelled(_candidate(row, row["question"], row["answer"]), row["pred"], row["reward"])


def gsm8k_preds(folder: Path) -> Iterator[Labelled]:
    """`pred` in place of the response: in this data the answer stands in a field of its own, often there alone."""
    for labelled in gsm8k(folder):
        stated = Candidate(**{**labelled.candidate, "response": f"#### {labelled.pred}"})
        yield labelled._replace(candidate=stated)


def mmlu_pro(folder: Path) -> Iterator[Labelled]:
    problems = {row["prompt_id"]: row for row in _rows(folder / "mmlu_pro/problems.parquet")}
    for row in _rows(folder / "mmlu_pro/candidates.parquet"):
        problem = problems[row["prompt_id"]]
        options = [f"{letter}. {text}" for letter, text in zip(LETTERS, problem["options"], strict=False)]
        question = "\n".join([problem["question"], *options])
        yield Labelled(_candidate(row, question, problem["answer"]), row["pred"], row["reward"])


def math500(folder: Path) -> Iterator[Labelled]:
    for row in _rows(folder / "math/math500.parquet"):
        entry = {"prompt_id": row["unique_id"], "model": "reference", "response": row["solution"]}
        yield Labelled(_candidate(entry, row["problem"], row["answer"]), row["answer"], 1.0)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for batch in pq.ParquetFile(path).iter_batches(4096):
        yield from batch.to_pylist()


def _candidate(row: dict[str, Any], question: str, reference: str) -> Candidate:
    return Candidate(
        schema_version=SCHEMA_VERSION,
        prompt_id=row["prompt_id"],
        source="benchmark",
        question=[Message(role="user", content=question)],
        reference=reference,
        response=row["response"],
        sample_index=0,
        generator=generated_by(model=row["model"]),
        finish_reason=None,
        n_tokens=None,
        rewards=[],
        marks=[],
    )


def _stated_option(candidate: Candidate) -> str | None:
    return stated_option(candidate["response"], read_options(candidate["question"][-1]["content"]))


#: Data, rule, and the answer that the rule reads, for people to look at.
COMPARISONS: dict[str, tuple[Callable[[Path], Iterator[Labelled]], Callable[[], RuleRewarder], Extract]] = {
    "gsm8k, answer": (gsm8k, golden_rule, lambda row: extract_answer(row["response"])),
    "gsm8k, stated": (gsm8k, lambda: golden_rule("stated"), lambda row: extract_answer(row["response"], "stated")),
    "gsm8k, mathematics": (gsm8k, mathematics_rule, lambda row: stated_expression(row["response"])),
    "gsm8k's pred, answer": (gsm8k_preds, golden_rule, lambda row: extract_answer(row["response"])),
    "gsm8k's pred, mathematics": (gsm8k_preds, mathematics_rule, lambda row: stated_expression(row["response"])),
    "mmlu_pro, choice": (mmlu_pro, choice_rule, _stated_option),
    "math500, mathematics": (math500, mathematics_rule, lambda row: stated_expression(row["response"])),
}


def compare(
    rows: Iterator[Labelled], rule: RuleRewarder, extract: Extract
) -> tuple[Counter[Any], list[Disagreement], float]:
    """The cells (ours, label, unparsable), every disagreement, and the seconds that the rule alone took."""
    cells: Counter[Any] = Counter()
    disagreements = []
    seconds = 0.0
    for labelled in rows:
        started = perf_counter()
        outcome = rule.reward(labelled.candidate)
        seconds += perf_counter() - started
        if outcome.reward is None:
            cells["failed"] += 1
            continue
        ours = outcome.reward["value"]
        cells[ours, labelled.label, UNPARSABLE in outcome.marks] += 1
        if ours != labelled.label:
            disagreements.append(Disagreement(labelled, ours, extract(labelled.candidate)))
    return cells, disagreements, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DATA_FOLDER")
    parser.add_argument("--only", choices=list(COMPARISONS), action="append", help="one comparison (may be repeated)")
    parser.add_argument("--show", type=int, default=10, help="disagreements to print of each cell")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    options = parser.parse_args()
    screen = console()
    table = []
    for name in options.only or COMPARISONS:
        read, make_rule, extract = COMPARISONS[name]
        cells, disagreements, seconds = compare(read(options.folder), make_rule(), extract)
        table.append(_summary(name, cells, seconds))
        for ours in (0.0, 1.0):
            cell = [found for found in disagreements if found.ours == ours]
            screen.print(styled("\n", (name, "bold"), f": ours {ours:.0f}, theirs {1 - ours:.0f}: {len(cell)}"))
            for found in random.Random(options.seed).sample(cell, min(options.show, len(cell))):
                say(_described(found))
    columns = ["data, rule", "rows", "agree", "1/1", "0/0", "ours 1/theirs 0", "0/1", "unparsable", "failed", "rows/s"]
    print_table("our reward / their label", columns, table)


def _summary(name: str, cells: Counter[Any], seconds: float) -> list[str]:
    rows = cells.total()

    def count(ours: float, label: float) -> int:
        return cells[ours, label, True] + cells[ours, label, False]

    four = [count(1.0, 1.0), count(0.0, 0.0), count(1.0, 0.0), count(0.0, 1.0)]
    unparsable = cells[0.0, 0.0, True] + cells[0.0, 1.0, True]
    shares = [f"{(four[0] + four[1]) / rows:.2%}", *map(str, four), f"{unparsable / rows:.2%}"]
    return [name, str(rows), *shares, str(cells["failed"]), f"{rows / seconds:,.0f}"]


def _described(found: Disagreement) -> str:
    candidate = found.labelled.candidate
    return (
        f"- {candidate['prompt_id']}, {candidate['generator']['model']}: reference {candidate['reference']!r}, "
        f"we read {found.answer!r}, they {found.labelled.pred!r} (label {found.labelled.label:.0f})\n"
        f"  …{candidate['response'][-260:]!r}"
    )


if __name__ == "__main__":
    main()
