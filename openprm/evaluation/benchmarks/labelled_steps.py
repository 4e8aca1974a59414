"""What benchmarks with labels of single steps share, and those where all steps are labelled (PRMBench)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, TypeAdapter

from ...data.values import checked, question_id, to_question, to_steps, to_text
from ...errors import Failure, InputError
from ...scoring.units import LOG_ODDS
from ..bootstrap import OfWeights, Statistic, weighted_sum
from ..thresholds import Judged, Score, at_threshold, auc, prm_score, right_f1, wrong_f1
from .declaration import Benchmark
from .items import Item, Measured, Response, Rewarded

_NUMBERS = TypeAdapter(list[Annotated[int, Field(ge=1)]])
_HALVES = ("half of the problems", "the other half of the problems")


class LabelledSteps(Benchmark):
    """Items with one response, and labels of its steps as the fact `labels`: 1 right, 0 wrong, None unknown.

    joined_by: what stands between two steps of a response. threshold_from: the subsets that thresholds are chosen on,
    for each subset the first of them that is another; without any, each half of the problems is measured at the
    threshold that is best on the other, and the number is their mean. averages: numbers that are means over subsets,
    by name; "" is that of the whole.
    """

    aggregated: ClassVar[bool] = False
    #: What is measured at thresholds, which are chosen for the first.
    scores: ClassVar[Mapping[str, Score]]

    joined_by: str = "\n"
    threshold_from: tuple[str, ...] = ()
    averages: Mapping[str, tuple[str, ...]] = Field({})

    def read(self, place: str) -> Iterator[Item | Failure]:
        """As of other benchmarks; a response that an earlier row has for the question is a failure.

        Raises InputError where all steps have the same label.
        """
        seen: set[tuple[str, Any]] = set()
        labels: set[float] = set()
        for item in super().read(place):
            if isinstance(item, Item):
                labels.update(item.facts["labels"])
                if (key := (question_id([*item.question]), item.responses[0].steps)) in seen:
                    item = Failure("an earlier row has the same steps", "leave one of them out", key=item.id)
                seen.add(key)
            yield item
        if len(known := labels - {None}) == 1:
            raise InputError(f"{place}: all steps are {'right' if 1.0 in known else 'wrong'}; there must be both")

    def item(
        self, number: int, row: Mapping[str, Any], steps: Any, labels: Sequence[float | None], **more: Any
    ) -> Item:
        """The item of a row, with the steps as a response is written, and more facts.

        The subset of an id such as gsm8k-17 is gsm8k.
        """
        question = self.columns["question"]
        problem = question_id(to_question(row, self.columns.get("problem", question)))
        joined = (*(step + self.joined_by for step in steps[:-1]), steps[-1])
        subset = re.sub(r"-\d+$", "", to_text(row, self.columns.get("subset")) or "")
        facts = {"labels": labels, "subset": subset, **more}
        return Item(f"row {number}", to_question(row, question), (Response("".join(joined), joined),), problem, facts)

    def judged(self, measured: Measured) -> Judged:
        """What thresholds judge: the steps that have labels."""
        return labelled(measured)

    def statistics(self, measured: Measured) -> list[Statistic]:
        judged, thresholds, groups = self.judged(measured), self._thresholds(measured), self._groups(measured.items)
        chosen = np.array([thresholds[group]["threshold"] for group in groups], dtype=float)

        def chosen_for(score: Score, kept: np.ndarray) -> tuple[OfWeights, int]:
            """Each group at its threshold. Their mean, by units: counts of several thresholds have no one score."""
            parts = [at_threshold(judged, chosen, score, kept & (np.array(groups) == group)) for group in thresholds]
            n = sum(n for _, n in parts)
            return weighted_sum([(of, some / n) for of, some in parts if some]), n

        (first, score), *_ = self.scores.items()
        numbers = {name: partial(chosen_for, one) for name, one in self.scores.items()}
        if measured.unit == LOG_ODDS:
            numbers[f"{first}, threshold 0"] = partial(at_threshold, judged, np.zeros(len(chosen)), score)
        numbers[f"{first}, oracle threshold"] = partial(at_threshold, judged, None, score)
        numbers["AUC"] = partial(auc, labelled(measured))
        return [one for name, make in numbers.items() for one in self.over_subsets(measured.items, name, make)]

    def over_subsets(
        self, items: Sequence[Item], name: str, make: Callable[[np.ndarray], tuple[OfWeights, int]]
    ) -> Iterable[Statistic]:
        """What `make` gives for the items that are kept: all, each subset; and the averages. Where it is defined."""
        subsets = np.array([item.facts["subset"] for item in items])
        found: dict[str, Statistic] = {}
        for subset in sorted({"", *subsets}):
            of, n = make((subsets == subset) | (subset == ""))
            if n and not np.isnan(of(np.ones((1, len(items))))[0]):
                found[subset] = Statistic(name, of, n, subset)
        for average, names in self.averages.items():
            found.pop(average, None)
            if (there := {*names} & {*subsets}) and there <= found.keys():
                parts = [found[one] for one in sorted(there)]
                of = weighted_sum([(one.of, 1 / len(parts)) for one in parts])
                found[average] = Statistic(name, of, sum(one.n for one in parts), average)
        return found.values()

    def arithmetic(self, items: Sequence[Item]) -> str:
        there, names = {item.facts["subset"] for item in items}, self.averages.get("", ())
        said = [f"at thresholds that are best on {', or else '.join(self.threshold_from) or _HALVES[1]}"]
        said += [f"the mean of {', '.join(one for one in names if one in there)}"] if names else []
        said += [f"without {', '.join(absent)}"] if (absent := [one for one in names if one not in there]) else []
        return "; ".join(said)

    def details(self, views: Mapping[str, Measured]) -> dict[str, Any]:
        """`thresholds`: those that were chosen, and on what; null where a class is missing there."""
        return {"thresholds": self._thresholds(views[""])}

    def _thresholds(self, measured: Measured) -> dict[str, dict[str, Any]]:
        judged, groups = self.judged(measured), np.array(self._groups(measured.items))
        (score, *_), found = self.scores.values(), {}
        for group in sorted({*groups.tolist()}):
            source = next((one for one in self.threshold_from or _HALVES if one != group), "")
            found[group] = {"threshold": judged.of_items(groups == source).best_threshold(score), "from": source}
        return found

    def _groups(self, items: Sequence[Item]) -> list[str]:
        """What each item is measured with at one threshold: its subset, or its half of the problems."""
        if self.threshold_from:
            return [item.facts["subset"] for item in items]
        return [_HALVES[hashlib.sha256(item.prompt.encode()).digest()[0] % 2] for item in items]


class StepLabels(LabelledSteps, kind="step-labels"):
    """All steps of each response are labelled, the wrong ones by their numbers from 1 (PRMBench; Song et al., 2025).

    The column `problem`, if one is declared, is the question that several rows are variants of.
    """

    headline: str = "PRMScore"
    scores: ClassVar[Mapping[str, Score]] = {
        "PRMScore": prm_score,
        "F1 of right steps": right_f1,
        "F1 of wrong steps": wrong_f1,
    }
    columns: dict[str, str] = Field({"question": "question", "steps": "steps", "wrong": "wrong"})

    def items(self, number: int, row: Mapping[str, Any]) -> Sequence[Item]:
        steps, column = to_steps(row, self.columns["steps"]), self.columns["wrong"]
        wrong = checked(_NUMBERS, row.get(column), column, "make it a list of numbers of steps, from 1")
        if wrong and max(wrong) > len(steps):
            raise Failure(f"{column!r} names step {max(wrong)} of {len(steps)}", "number the steps from 1")
        labels = [float(index not in wrong) for index in range(1, len(steps) + 1)]
        return [self.item(number, row, steps, labels)]


def labelled(measured: Measured) -> Judged:
    """The steps that have labels, as units; one without a reward is never judged rightly."""
    return Judged.of(
        [
            (*((-np.inf, reward) if label else (reward, np.inf)), bool(label), index)
            for index, (item, (one,)) in enumerate(zip(measured.items, measured.rewarded, strict=True))
            for label, reward in zip(item.facts["labels"], rewards_of(item, one), strict=True)
            if label is not None
        ]
    )


def rewards_of(item: Item, rewarded: Rewarded) -> list[float]:
    """The reward of each step of the item; NaN for those that have none."""
    return [np.nan if one is None else one for one in rewarded.rewards or [None] * len(item.facts["labels"])]
