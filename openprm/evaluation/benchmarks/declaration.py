"""How a benchmark is declared: one YAML file says where its rows are, their columns, and the arithmetic.

    title: LLMBar (Zeng et al., 2024)
    kind: pairs
    hub: princeton-nlp/LLMBar
    columns: {question: prompt, chosen: chosen, rejected: rejected}

Each kind is a subclass of `Benchmark` that reads items from rows and computes numbers from their rewards. The files
beside this module are the benchmarks that are known by name; any other file is given by its path.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ...data.columns import require_column
from ...data.readers import convert_rows, dataset_name, numbered_rows, with_columns
from ...errors import Failure, InputError
from ...runs.declaration import nearest
from ..bootstrap import Statistic
from .items import Item, Measured

_FOLDER = Path(__file__).parent
_YAML = (".yaml", ".yml")


class Benchmark(BaseModel, ABC):
    """A declared benchmark.

    name: what the command line calls it; the file's name. hub, revision, config, split: the dataset on the Hub. file:
    where it lies in a folder of data files (`--data`). columns: the column of each part. where: only rows with these
    values. probes: what is measured beside the benchmark's own arithmetic (see `openprm.evaluation.probes`). headline:
    the number that tables of several benchmarks show.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    #: The benchmarks' kinds, by the key `kind` of their files.
    kinds: ClassVar[dict[str, type[Benchmark]]] = {}
    kind: ClassVar[str]
    #: Whether an aggregation makes a score of a response's step rewards; else the numbers are of single steps.
    aggregated: ClassVar[bool] = True

    name: str
    title: str
    hub: str | None = None
    revision: str | None = None
    config: str | None = None
    split: str | None = None
    file: str | None = None
    columns: dict[str, str] = {}
    where: dict[str, str] = {}
    probes: tuple[str, ...] = ()
    headline: str = "accuracy"
    license: str | None = None
    homepage: str | None = None
    citation: str | None = None
    note: str | None = None

    def __init_subclass__(cls, kind: str | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if kind is not None:
            cls.kind = kind
            Benchmark.kinds[kind] = cls

    def place(self, data: str | Path | None = None) -> str:
        """Where the rows are: its file in the folder `data` if it is there, else its dataset on the Hub.

        Raises InputError where neither is known.
        """
        if data is not None and not Path(data).is_dir():
            raise InputError(f"{data}: there is no such folder of data; check --data")
        if data is not None and self.file is not None and (Path(data) / self.file).exists():
            return str(Path(data) / self.file)
        if self.hub is None:
            raise InputError(f"{self.name!r} is not on the Hub; say where its file lies: --on {self.name}=FILE")
        return self.hub + (f"@{self.revision}" if self.revision else "") + (f":{self.config}" if self.config else "")

    def beside(self, place: str) -> str | None:
        """A second file that is read with the rows at `place`. Raises InputError where it is missing."""
        return None

    def read(self, place: str) -> Iterator[Item | Failure]:
        """The items of the rows at `place` (a file, a folder or a Hub id), or why a row is none.

        Raises InputError where there are no rows, or they lack a column.
        """
        split = None if Path(place).is_file() else self.split
        names, rows = with_columns(numbered_rows(place, split))
        for part, column in self.columns.items() if names else ():
            require_column(place, f"{part} in the benchmark's `columns`", column, names)
        kept = (
            (number, row)
            for number, row in rows
            if isinstance(row, Failure) or all(str(row.get(key)) == value for key, value in self.where.items())
        )
        return convert_rows(kept, place, self.items)

    def items(self, number: int, row: Mapping[str, Any]) -> Sequence[Item]:
        """The items in a row (from 1); ids are unique within the benchmark. Raises Failure for a bad row."""
        raise NotImplementedError

    def graded(self, items: Iterable[Item]) -> Iterator[Item | Failure]:
        """The items with what takes work to know of them, such as rewards by rule; only of those to be measured."""
        yield from items

    @abstractmethod
    def statistics(self, measured: Measured) -> Iterable[Statistic]:
        """The benchmark's numbers from one model's rewards, with its official arithmetic; the headline first."""

    def arithmetic(self, items: Sequence[Item]) -> str | None:
        """How the headline number is counted on these items, in words, where that depends on what is there.

        Raises InputError where it cannot be counted.
        """
        return None

    def details(self, views: Mapping[str, Measured]) -> Any:
        """What must be known of the numbers of one model, as JSON: the thresholds that were chosen."""

    def references(self, items: Sequence[Item]) -> dict[str, list[Statistic]]:
        """Numbers of choices that need no reward, by name: majority vote, the strongest model."""
        return {}

    def chosen(self, measured: Measured, model: str) -> list[dict[str, str]]:
        """The response to each item that a model chose, to be judged elsewhere; none where nothing is chosen."""
        return []


def known_benchmarks() -> list[str]:
    """The names of the benchmarks that are declared here."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def is_data_file(name: str) -> bool:
    """Whether a benchmark is named by a file of its rows."""
    return os.path.isfile(name) and not name.endswith(_YAML)


def load_benchmark(name: str) -> Benchmark:
    """The benchmark of that name, or that a YAML file of that path declares, or the pairs in any other file.

    Raises InputError for an unknown name (with the nearest there is) and a file that declares none.
    """
    if is_data_file(name):
        return _pairs_in(name)
    path = Path(name) if name.endswith(_YAML) else _FOLDER / f"{name}.yaml"
    if not path.is_file():
        if path.parent == _FOLDER:
            raise InputError(f"there is no benchmark {name!r}{nearest(name, known_benchmarks())}")
        raise InputError(f"{name}: there is no such file; give a benchmark's name or the file that declares it")
    try:
        declared = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    return declare(path.stem, declared, str(path))


def _pairs_in(file: str) -> Benchmark:
    """A file with the columns chosen and rejected, and prompt unless these are conversations."""
    names, _ = with_columns(numbered_rows(file))
    question = {"question": "prompt"} if "prompt" in names else {}
    columns = {**question, "chosen": "chosen", "rejected": "rejected"}
    return declare(dataset_name(file), {"kind": "pairs", "title": os.path.basename(file), "columns": columns}, file)


def declare(name: str, declared: Any, where: str) -> Benchmark:
    """The benchmark of a declaration's values. Raises InputError, which begins with `where`, for what is none."""
    if not isinstance(declared, Mapping) or declared.get("kind") not in Benchmark.kinds:
        kind = declared.get("kind") if isinstance(declared, Mapping) else declared
        raise InputError(f"{where}: there is no kind of benchmark {kind!r}{nearest(str(kind), Benchmark.kinds)}")
    kind, values = Benchmark.kinds[declared["kind"]], {key: declared[key] for key in declared if key != "kind"}
    if unknown := [str(key) for key in values if key not in kind.model_fields]:
        raise InputError(f"{where}: {kind.kind} has no key {unknown[0]!r}{nearest(unknown[0], kind.model_fields)}")
    try:
        return kind.model_validate({"name": name, **values})
    except ValidationError as error:
        first = error.errors()[0]
        key, said = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        wrong = "is missing" if first["type"] == "missing" else f"is {first['input']!r}: {said}"
        raise InputError(f"{where}: {key} {wrong}") from None
