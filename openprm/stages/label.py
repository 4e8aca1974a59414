"""The stage that brings step labels into one format, from what others gave, trees or verifiers, and changes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.holdout import drawn, question_rank
from ..errors import Failure, InputError
from ..labels.conversions import consensus, cut, harden, matched, shuffled
from ..labels.given import FORMATS, read_given
from ..labels.sources import labels_by_verifier, labels_of_tree
from ..labels.statistics import label_counts
from ..labels.step_labels import VALUE
from ..runs.dataset import Rejections, finish_dataset, most_common, write_shards
from ..runs.declaration import input_path, nearest, parameter
from ..runs.folder import REJECTED, read_rows
from ..runs.progress import shown
from ..runs.shards import response_key
from ..schema import Candidate, Scored, StepLabels, Tree
from .shared_options import ReadsRows


@dataclass(frozen=True, kw_only=True)
class Label(ReadsRows, kind="label"):
    """Bring step labels into one format, or make other labels of them.

    by: a published format (processbench, prm800k, math-shepherd, trl); tree, the values of trees; verifier, a
    confidence that drops (AutoPSV); labels, labels that are there; consensus, labels that --other agrees with on the
    first error (Lessons of PRMs).

    Then --harden, --cut and --shuffle are applied, in this order. Rows without labels are listed in rejected.jsonl.
    """

    labels: str = input_path(
        "What has labels: a file or dataset; trees; candidates, for a verifier; labels.", argument=True
    )
    by: str = parameter(f"{', '.join(FORMATS)}, tree, verifier, labels or consensus.")
    split: str | None = parameter("Split of a dataset (not of a file).", None)
    neutral: str = parameter("prm800k: what a neutral step is taken for: right, wrong or drop.", "right")
    joined_by: str = parameter("What stands between two given steps that end without white space.", "\n", escapes=True)
    scores: str | None = input_path("verifier: its scores (`openprm score`) of the same candidates.", None)
    drop: float = parameter("verifier: the share of its confidence that a wrong step costs.", 0.5)
    other: str | None = input_path("consensus: the labels to agree with.", None)
    harden: float | None = parameter(
        "Make labels 1 above this and 0 else, of kind correct; of values 0 is usual.", None
    )
    cut: bool = parameter("Leave out the labels after the first error.", False)
    limit: int | None = parameter("Only so many prompts, drawn by a hash of the question.", None, above=0)
    shuffle: int | None = parameter("Control: shuffle the labels of all steps, by this seed.", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = (*FORMATS, "tree", "verifier", "labels", "consensus")
        if self.by not in known:
            raise InputError(f"labels cannot be had by {self.by!r}{nearest(self.by, known)}")
        for by, needed in (("verifier", "scores"), ("consensus", "other")):
            if (self.by == by) != (getattr(self, needed) is not None):
                raise InputError(f"--by {by} and --{needed} go together; give both, or none of them")
        if self.harden is not None and not 0 <= self.harden < 1:
            raise InputError(f"--harden {self.harden}: labels lie from 0 to 1; give a number from 0 and below 1")
        if not 0 < self.drop < 1:
            raise InputError(f"--drop {self.drop}: a confidence falls by a share between 0 and 1, such as 0.5")

    def work(self, folder: Path) -> Mapping[str, Any]:
        found = shown(self._read(), "labels", "responses")
        rejections = Rejections(folder / REJECTED, self.strict)
        disagreed: Counter[str] = Counter()
        rows = rejections.filter(self._converted(found, disagreed))
        if self.limit is not None:
            rows = _of_prompts(list(rows), self.limit)
        if self.shuffle is not None:
            rows = iter(shuffled(list(rows), self.shuffle))
        kinds: Counter[str] = Counter()
        counts: Counter[str] = Counter()

        def counted() -> Iterator[StepLabels]:
            for row in rows:
                kinds[row["kind"]] += 1
                if len(kinds) > 1:
                    raise InputError(
                        f"{self.labels}: {response_key(row)} has labels of kind {row['kind']!r}, others of another, "
                        "which is not the same; --harden values, or keep them apart"
                    )
                counts.update(label_counts([row]))
                yield row

        digests = write_shards(folder, counted(), StepLabels)
        if not kinds:
            raise InputError(f"{self.labels}: no response has labels; " + most_common(rejections.counts))
        for name, of in (("zero", "wrong"), ("one", "right")):
            if counts[name] == counts["labels"]:
                raise InputError(
                    f"{self.labels}: all {counts['labels']} labels are {of}; there must be both to learn from"
                )
        more = {"kind": next(iter(kinds)), **disagreed, "rejected": dict(rejections.counts)}
        return finish_dataset(folder, StepLabels, "labels", digests, {**counts, **more})

    def _read(self) -> Iterator[StepLabels | Failure]:
        rows: Any
        if self.by in FORMATS:
            yield from read_given(
                self.labels, self.by, neutral=self.neutral, joined_by=self.joined_by, split=self.split
            )
        elif self.by == "tree":
            rows = read_rows(self.labels, Tree, self.split)
            for tree in rows:
                yield from labels_of_tree(tree)
        elif self.by == "verifier":
            yield from self._verified()
        else:
            rows = read_rows(self.labels, StepLabels, self.split)
            yield from rows

    def _verified(self) -> Iterator[StepLabels | Failure]:
        assert self.scores is not None
        rows: Iterator[Any] = read_rows(self.labels, Candidate, self.split)
        scored: Iterator[Any] = read_rows(self.scores, Scored)
        of = {response_key(one): one for one in scored}
        for row in rows:
            key = response_key(row)
            try:
                if key not in of:
                    raise Failure("it has no scores", "score the same candidates")
                yield labels_by_verifier(row, of[key], self.drop)
            except Failure as failure:
                yield failure.at(key)

    def _converted(self, rows: Iterable[StepLabels | Failure], counts: Counter[str]) -> Iterator[StepLabels | Failure]:
        if self.by == "consensus":
            rows = self._agreed(rows, counts)
        for row in rows:
            if not isinstance(row, Failure):
                row = harden(row, self.harden) if self.harden is not None else row
                row = cut(row) if self.cut else row
            yield row

    def _agreed(self, rows: Iterable[Any], counts: Counter[str]) -> Iterator[StepLabels | Failure]:
        """Hardened before they are compared; what is dropped is counted, not listed: it is no fault."""
        assert self.other is not None

        def hard(row: StepLabels) -> StepLabels:
            return harden(row, self.harden or 0.0) if row["kind"] == VALUE else row

        other: Iterator[Any] = read_rows(self.other, StepLabels)
        for row, same in matched(rows, other):
            try:
                if same is None:
                    raise Failure("the other source has no labels of it", "label the same responses")
                agreed = consensus(hard(row), hard(same))
            except Failure as failure:
                yield failure.at(response_key(row))
                continue
            counts["agreed" if agreed else "disagreed"] += 1
            if agreed:
                yield agreed


def _of_prompts(rows: list[StepLabels], limit: int) -> Iterator[StepLabels]:
    """Those of so many prompts, drawn by a hash of the question."""
    ranks = {row["prompt_id"]: question_rank(row["question"]) for row in rows}
    kept = {*drawn(ranks.values(), limit)}
    return (row for row in rows if ranks[row["prompt_id"]] in kept)
