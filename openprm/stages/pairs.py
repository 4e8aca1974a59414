"""The stages that make pairs: of preference trees, and of preference datasets (paper, sections 3.1 and 3.2)."""

from __future__ import annotations

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from ..data.paper_datasets import PAIR_SOURCES, PairSource, find_source
from ..data.preferences import PreferenceColumns, read_declared_pairs, read_preferences
from ..errors import InputError
from ..runs.dataset import Rejections, finish_dataset, most_common, write_shards
from ..runs.declaration import Stage, input_path, parameter
from ..runs.folder import REJECTED, read_rows
from ..runs.progress import shown
from ..schema import LEVELS, Pair, Tree
from ..trees.certainty import priors
from ..trees.pair_selection import Duplicates, OutcomePairs
from ..trees.pairs import OUTCOME, MinGap, PairParameters, tree_pairs
from ..trees.statistics import PairStatistics
from ..trees.tree import revalue, with_rewards
from .shared_options import ReadsRows, version_read


@dataclass(frozen=True, kw_only=True)
class Pairs(Stage, kind="pairs"):
    """Take process and outcome pairs from preference trees."""

    trees: str = input_path("Trees: a folder of `openprm trees`, or a published dataset.", argument=True)
    min_gap: str = parameter(
        "Least gap: 0.2 (in units of the reward; the paper's for 0/1), 0.5sd, or q0.9 (quantile).", "0.2"
    )
    select: str = parameter("max (one pair a parent), all, or how many pairs a tree.", "max")
    min_support: int = parameter("Least number of responses behind each side.", 1)
    shared_prefix: bool = parameter("Put both sides behind the chosen side's prefix.", False)
    process: bool = parameter("Take process pairs.", True)
    outcome: str = parameter("Pairs of whole responses: none, best, all, or how many, spread over prompts.", "none")
    values: str = parameter("plain, or shrunken towards the parent's where few responses are behind them.", "plain")
    min_certainty: float = parameter("Least probability that the chosen sibling is the better one.", 0.0)
    select_by: str = parameter("What max and a number select by: gap, certainty, support or depth.", "gap")
    weigh: str = parameter("certainty: a pair of siblings counts by the certainty of its gap; or none.", "none")
    reward_name: str | None = parameter("Take another of the rewards that responses carry.", None)
    shuffle_rewards: int | None = parameter("Control: shuffle the rewards of all responses, by this seed.", None)
    split: str | None = parameter("Split of a published dataset; default: train.", None)
    seed: int = parameter("Of the hash that breaks ties.", 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        MinGap.parse(self.min_gap)  # raises for an invalid one

    def work(self, folder: Path) -> Mapping[str, Any]:
        min_gap = MinGap.parse(self.min_gap)
        parameters = PairParameters(**{name: getattr(self, name) for name in PairParameters.__annotations__})
        # a gap in the reward's own units needs no look at the rewards; it is entered as sources appear
        gaps: dict[str, float] = defaultdict(lambda: min_gap.amount)
        if min_gap.units != "reward":
            gaps |= min_gap.in_reward_units(shown(self._trees(), "gaps", "trees"))
        priors_of = priors(shown(self._trees(), "certainty", "trees")) if parameters.needs_prior else {}
        statistics = PairStatistics()
        outcomes = OutcomePairs(int(self.outcome), self.seed) if self.outcome.isdigit() else None

        def rows() -> Iterator[Pair]:
            for tree in shown(self._trees(), "pairs", "trees"):
                statistics.add_tree(tree)
                asked = replace(parameters, outcome=str(outcomes.most)) if outcomes else parameters
                pairs = tree_pairs(tree, gaps[tree["source"]], asked, priors_of.get(tree["source"]))
                if outcomes:
                    outcomes.add(pairs)
                yield from pairs

        digests = write_unique(folder, rows(), statistics, outcomes)
        if not statistics.pairs:
            raise InputError(
                f"{self.trees}: no pair has a gap of {min_gap} or more (widest gap {statistics.widest_gap:.3g}); "
                "lower --min-gap, or look at the rewards"
            )
        found = {**statistics.summary(), "min_gap_by_source": gaps}
        if priors_of:
            found["prior_by_source"] = {name: prior if prior < math.inf else None for name, prior in priors_of.items()}
        return finish_dataset(folder, Pair, "pairs", digests, found)

    def _trees(self) -> Iterator[Tree]:
        rows: Iterator[Any] = self._read()
        return rows if self.shuffle_rewards is None else _shuffled(rows, self._read(), self.shuffle_rewards)

    def _read(self) -> Iterator[Any]:
        rows: Iterator[Any] = read_rows(self.trees, Tree, self.split)
        return rows if self.reward_name is None else (revalue(tree, self.reward_name) for tree in rows)


def _shuffled(rows: Iterator[Tree], same: Iterator[Any], seed: int) -> Iterator[Tree]:
    """The trees with the rewards of all their responses in random order; `same`: the trees, to read rewards from."""
    rewards = [response["reward"] for tree in same for response in tree["responses"]]
    random.Random(seed).shuffle(rewards)
    remaining = iter(rewards)
    for tree in rows:
        yield with_rewards(tree, list(islice(remaining, len(tree["responses"]))), f"{tree['reward_name']}, shuffled")


@dataclass(frozen=True, kw_only=True)
class Preferences(ReadsRows, kind="preferences"):
    """Bring chosen and rejected answers of a preference dataset into the unified format, as outcome pairs."""

    preferences: str | None = input_path(
        "JSONL, CSV or Parquet file or a dataset; with --declared a copy of that.", None, argument=True
    )
    declared: str | None = parameter("A dataset of the paper: helpsteer2 or ultrafeedback-binarized.", None)
    question_column: str = parameter("Column of the question; '' where chosen and rejected hold it.", "prompt")
    chosen_column: str = parameter("Column of the chosen answer.", "chosen")
    rejected_column: str = parameter("Column of the rejected answer.", "rejected")
    split: str | None = parameter("Split of a dataset (not of a file).", None)
    source: str | None = parameter("Name of the data's source; default: the file's name.", None)
    derived = ("hub", "revision")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.declared is None and self.preferences is None:
            raise InputError("preferences need a file or dataset, or the name of a --declared one")

    @cached_property
    def _declared(self) -> PairSource | None:
        return find_source(PAIR_SOURCES, self.declared) if self.declared else None

    def recorded(self) -> dict[str, Any]:
        return super().recorded() | version_read(self._declared, self.preferences)

    def work(self, folder: Path) -> Mapping[str, Any]:
        rejections = Rejections(folder / REJECTED, self.strict)
        counts: Counter[str] = Counter()
        statistics = PairStatistics()
        pairs = rejections.filter(self._read(counts))
        digests = write_unique(folder, shown(pairs, "pairs", "pairs"), statistics)
        if not statistics.pairs:
            name = self.declared or self.preferences
            raise InputError(f"{name}: no pair could be used; " + most_common(rejections.counts))
        found = {**statistics.summary(), "rejected": dict(rejections.counts)}
        source = self._declared
        if source is None:
            return finish_dataset(folder, Pair, "pairs", digests, found)
        found |= {"ties": counts["ties"], "in_the_paper": source.paper_rows}
        return {**finish_dataset(folder, Pair, "pairs", digests, found), "origins": [source.origin()]}

    def _read(self, counts: Counter[str]) -> Iterator[Any]:
        if self._declared is not None:
            return read_declared_pairs(self._declared, self.preferences, counts)
        assert self.preferences is not None
        columns = PreferenceColumns(self.question_column or None, self.chosen_column, self.rejected_column)
        return read_preferences(self.preferences, columns, split=self.split, source=self.source)


def write_unique(
    folder: Path, pairs: Iterable[Pair], statistics: PairStatistics, outcomes: OutcomePairs | None = None
) -> bytes:
    """Writes the pairs without duplicates and contradictions (all to a scratch file first, then those that stay);
    returns their digests.

    Process pairs come first, then outcome pairs, so that published files, one a level, are in order.
    """
    duplicates = Duplicates()
    scratch = folder / ".pairs.jsonl"
    with scratch.open("w", encoding="utf-8") as file:
        for pair in pairs:
            duplicates.add(pair)
            file.write(json.dumps(pair, ensure_ascii=False) + "\n")

    def read(level: str) -> Iterator[tuple[int, Pair]]:
        with scratch.open(encoding="utf-8") as file:
            for number, line in enumerate(file):
                pair: Pair = json.loads(line)
                if pair["level"] == level:
                    yield number, pair

    def kept() -> Iterator[Pair]:
        for level in LEVELS:
            found = (one for one in read(level) if duplicates.keep(one[1]))
            if level == OUTCOME and outcomes:
                chosen = outcomes.chosen(found)
                found = (one for one in read(level) if one[0] in chosen)
            for _, pair in found:
                statistics.add(pair)
                yield pair

    digests = write_shards(folder, kept(), Pair)
    scratch.unlink()
    statistics.duplicates, statistics.contradictions = duplicates.duplicates, duplicates.contradictions
    return digests
