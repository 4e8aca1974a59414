"""Where candidates come from, as one value that stages, builders and the command line pass on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import Failure
from ..runs.folder import batched, is_folder, read_manifest
from ..schema import Candidate
from .candidates import DEFAULT_COLUMNS, read_candidates
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

    def read(self, counts: Counter[str] | None = None) -> Iterator[Candidate | Failure]:
        """See `read_candidates`."""
        return read_candidates(**vars(self), counts=counts)

    def shards(self, size: int) -> Iterator[list[Candidate]]:
        """The candidates in lists of up to `size`, without failures."""
        return batched((row for row in self.read() if not isinstance(row, Failure)), size)

    def count(self) -> int | None:
        """How many candidates there are, where that is known without reading them."""
        return read_manifest(self.path)["rows"] if is_folder(self.path) else None
