"""The stage that makes process pairs of step labels."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..labels.conversions import pair_at_error, pairs_by_depth
from ..runs.dataset import finish_dataset
from ..runs.declaration import Stage, input_path, nearest, parameter
from ..runs.folder import read_rows
from ..runs.progress import shown
from ..schema import Pair, StepLabels, Support
from ..trees.statistics import PairStatistics
from .pairs import write_unique

PLACES = ("depth", "error")
SELECTIONS = ("max", "all")


@dataclass(frozen=True, kw_only=True)
class LabelPairs(Stage, kind="label-pairs"):
    """Take process pairs from step labels.

    at depth: of the labelled steps of a prompt at the same depth, each behind its own prefix (the paper's Table 8).
    at error: the first wrong step against its correction (Step-DPO); as `openprm rollouts --corrections` finds it.
    """

    labels: str = input_path("Labels: a folder of `openprm label` or `openprm rollouts`, or a dataset.", argument=True)
    at: str = parameter("depth or error.", "depth")
    min_gap: float = parameter("depth: least difference of two labels.", 0.2, above=0)
    select: str = parameter("depth: max (the widest gap of each depth) or all.", "max")
    shuffle: int | None = parameter("Control: chosen and rejected at random, by this seed.", None)
    split: str | None = parameter("Split of a published dataset; default: train.", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        for value, known in ((self.at, PLACES), (self.select, SELECTIONS)):
            if value not in known:
                raise InputError(f"there are no pairs at {value!r}{nearest(value, known)}")

    def work(self, folder: Path) -> Mapping[str, Any]:
        skipped: Counter[str] = Counter()
        statistics = PairStatistics()
        pairs = self._pairs(skipped)
        if self.shuffle is not None:
            pairs = turned(pairs, self.shuffle)
        digests = write_unique(folder, shown(pairs, "pairs", "pairs"), statistics)
        if not statistics.pairs:
            why = ", ".join(f"{name.replace('_', ' ')}: {n}" for name, n in skipped.items())
            raise InputError(f"{self.labels}: there are no pairs ({why}); lower --min-gap, or look at the labels")
        return finish_dataset(folder, Pair, "pairs", digests, {**statistics.summary(), **skipped})

    def _pairs(self, skipped: Counter[str]) -> Iterator[Pair]:
        rows: Iterator[Any] = read_rows(self.labels, StepLabels, self.split)
        if self.at == "error":
            for row in rows:
                pair = pair_at_error(row)
                skipped["responses_without_a_pair"] += pair is None
                if pair is not None:
                    yield pair
            return
        prompts: dict[str, list[StepLabels]] = defaultdict(list)
        for row in rows:
            prompts[row["prompt_id"]].append(row)
        for some in prompts.values():
            pairs = pairs_by_depth(some, self.min_gap, self.select)
            skipped["prompts_without_a_pair"] += not pairs
            yield from pairs


def turned(pairs: Iterator[Pair], seed: int) -> Iterator[Pair]:
    """The pairs, each with its sides exchanged or not, at random."""
    rng = random.Random(seed)
    for pair in pairs:
        if rng.random() < 0.5:
            yield pair
            continue
        before = pair["rejected_context"] if pair["rejected_context"] is not None else pair["context"]
        other = pair["context"] if before != pair["context"] else None
        support = Support(chosen=pair["support"]["rejected"], rejected=pair["support"]["chosen"])
        sides: Any = {"context": before, "rejected_context": other, "support": support}
        yield Pair(**{**pair, **sides, "chosen": pair["rejected"], "rejected": pair["chosen"]})
