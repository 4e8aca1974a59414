"""Where candidates come from, as one value that stages, builders and the command line pass on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputError, Rejection
from ..runs.folder import batched, is_folder, read_manifest, read_rows
from ..schema import Candidate
from .candidates import DEFAULT_COLUMNS, are_named, read_candidates
from .columns import Columns


@dataclass(frozen=True)
class CandidateSource:
    """Where candidates come from: a file, a dataset, or a folder of the candidates stage (see `read_candidates`)."""

    path: str
    columns: Columns = DEFAULT_COLUMNS
    split: str | None = None
    where: Mapping[str, str] | None = None
    questions: str | None = None
    questions_options: str | None = None
    source: str | None = None
    reward_name: str | None = None

    def read(self, counts: Counter[str] | None = None) -> Iterator[Candidate | Rejection]:
        if is_folder(self.path):
            wanted = {name: getattr(self, name) for name in ("split", "where", "questions", "source")}
            if any(wanted.values()) or are_named(self.columns):
                raise InputError(f"{self.path} holds candidate records already; leave out columns, split and filters")
            return read_rows(self.path, Candidate)  # type: ignore[return-value]
        return read_candidates(
            self.path,
            self.columns,
            split=self.split,
            where=self.where,
            questions=self.questions,
            questions_options=self.questions_options,
            source=self.source,
            reward_name=self.reward_name,
            counts=counts,
        )

    def shards(self, size: int) -> Iterator[list[Candidate]]:
        """The candidates in lists of up to `size`, without what is rejected."""
        return batched((row for row in self.read() if not isinstance(row, Rejection)), size)

    def count(self) -> int | None:
        """How many candidates there are, where that is known without reading them."""
        return read_manifest(self.path)["rows"] if is_folder(self.path) else None

    def inputs(self) -> dict[str, str]:
        """The stage's inputs, by role."""
        return {"candidates": self.path, **({"questions": self.questions} if self.questions else {})}

    def parameters(self) -> dict[str, Any]:
        """Everything but the paths, for the manifest."""
        return {key: value for key, value in asdict(self).items() if key not in ("path", "questions") and value}
