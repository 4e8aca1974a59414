"""The stage that holds out prompts to measure on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.holdout import divide, question_rank
from ..errors import InputError
from ..runs.dataset import finish_dataset, write_shards
from ..runs.declaration import Stage, input_path, nearest, parameter
from ..runs.folder import read_rows
from ..runs.progress import shown
from ..schema import Candidate

SUBSETS = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class Split(Stage, kind="split"):
    """Take the candidates of the prompts to train on, or of those that are held out.

    Which prompts are held out follows from a hash of the question and the seed: neither from the order of the rows nor
    from the responses. Questions that differ in case, space and punctuation alone stay together.
    """

    candidates: str = input_path("Folder of candidates.", argument=True)
    subset: str = parameter("train, or test: the prompts that are held out.")
    holdout: float = parameter("Share of the prompts that is held out.", 0.1)
    limit: int | None = parameter("Only so many prompts, of both subsets together.", None)
    seed: int = parameter("Seed of the hash.", 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subset not in SUBSETS:
            raise InputError(f"there is no subset {self.subset!r}{nearest(self.subset, SUBSETS)}")
        if self.limit is not None and self.limit < 2:
            raise InputError(f"the limit is {self.limit}; take at least two prompts, one of them to hold out")
        divide((0, 1), self.holdout)  # raises for a share that is none

    def work(self, folder: Path) -> Mapping[str, Any]:
        ranks = {row["prompt_id"]: question_rank(row["question"], self.seed) for row in self._rows("questions")}
        train, test = divide(ranks.values(), self.holdout, self.limit)
        kept_ranks = train if self.subset == "train" else test
        kept = {prompt_id for prompt_id, rank in ranks.items() if rank in kept_ranks}
        rows = (row for row in self._rows("candidates") if row["prompt_id"] in kept)
        digests = write_shards(folder, rows, Candidate)
        counts = {"prompts": len(kept), "of_prompts": len(ranks)}
        return finish_dataset(folder, Candidate, "candidates", digests, counts)

    def _rows(self, what: str) -> Iterator[Candidate]:
        return shown(read_rows(self.candidates, Candidate), what)
