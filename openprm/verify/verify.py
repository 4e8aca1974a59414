"""Verify a publication: its files and rows have the recorded hashes, it loads, and it can be rebuilt identically.

One check that fails does not keep the others from being made.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import InputError, first_line
from ..hub.publication import (
    MODEL,
    MODELS,
    RECORDS,
    Publication,
    check_files,
    content_hash,
    open_publication,
    part_files,
    part_rows,
)
from ..hub.repository import Missing, Repository, commits
from ..runs.folder import read_rows, rows_hash, without_pattern
from ..runs.manifest import files_hash, versions
from ..schema import LEVELS
from .compare import compare_rows
from .rebuild import NotRebuildable, rebuild, restored

IDENTICAL = "identical"
DIFFERS = "differs"
UNCHECKED = "could not be checked"
NOT_REBUILDABLE = "not rebuilt"

#: Logits of a reward model that differ by no more are equal: other hardware and batches change the last digits.
REWARD_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Check:
    """What was checked, one of the four results above, and where it differs or why it was not checked."""

    what: str
    result: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.result}" + (f" ({self.detail})" if self.detail else "")


def exit_code(checks: Iterable[Check]) -> int:
    """1 where something differs, 2 where something else could not be checked, else 0.

    What no published artifact determines (samples, a judge's rewards, trained weights) leaves 0.
    """
    results = {check.result for check in checks}
    return 1 if DIFFERS in results else 2 if UNCHECKED in results else 0


def verify(where: str | Path | Repository, work: str | Path | None = None, *, num_proc: int = 1) -> Iterator[Check]:
    """The checks of a publication, `OWNER/NAME[@REVISION]` or a local folder, each as soon as it is made.

    work: the folder to rebuild in, where a killed run is resumed (default: a temporary folder). num_proc: processes
    that rebuild trees and rewards. Raises InputError where there is no publication of this package.
    """
    publication = open_publication(where)
    with tempfile.TemporaryDirectory(prefix="openprm-") as temporary:
        folder = Path(work or temporary)
        yield _checked("files", partial(_files, publication))
        if publication.kind in RECORDS:
            for part in publication.parts:
                yield _checked(f"{part}: rows", partial(_same_hash, part_rows(publication, part), publication, part))
                yield _checked(f"{part}: load_dataset", partial(_loaded_rows, publication, part))
                yield _checked(f"{part}: rebuilt", partial(_rebuilt, publication, part, folder, num_proc))
        if publication.kind in MODELS:
            yield _checked("checkpoint", partial(_checkpoint, publication, folder))
            yield _checked("from_pretrained", partial(_loaded_model, publication))
        if publication.kind == "model":
            yield _checked("scoring code", partial(_scoring_code, publication, folder))


def _checked(what: str, check: Callable[[], str]) -> Check:
    """The result of a check, which returns a detail and raises InputError where something differs."""
    try:
        return Check(what, IDENTICAL, check())
    except NotRebuildable as error:
        return Check(what, NOT_REBUILDABLE, str(error))
    except (Missing, OSError) as error:  # not published, no connection, a full disk
        return Check(what, UNCHECKED, str(error))
    except InputError as error:
        lacks_extra = isinstance(error.__cause__, ImportError)
        return Check(what, UNCHECKED if lacks_extra else DIFFERS, str(error))
    except (KeyError, ValueError, TypeError, AttributeError) as error:  # what it lacks, or values of a wrong type
        return Check(what, DIFFERS, f"what its manifest records cannot be used: {first_line(error)}")


def _files(publication: Publication) -> str:
    if problems := check_files(publication):
        raise InputError("; ".join(problems))
    number = f"{len(publication.manifest['files'])} files"
    if publication.repository.is_local:
        return number
    # without a connection the Hub's client reads its cache, which may be outdated, and says nothing
    there, here = commits(publication.repository, publication.type)[0], publication.folder.name
    if there != here:
        raise InputError(f"these are of commit {here[:12]}, the Hub has {there[:12]}")
    return f"{number} of commit {here[:12]}"


def _same_hash(rows: Iterable[Mapping[str, Any]], publication: Publication, part: str) -> str:
    found, recorded = rows_hash(rows), content_hash(publication.part(part))
    if found != recorded:
        raise InputError(f"the hash of the rows is {found[:12]}..., not {recorded[:12]}... as recorded")
    return f"row hash {recorded[:12]}..."


def _loaded_rows(publication: Publication, part: str) -> str:
    """What `load_dataset` reads by the card's YAML; pairs are also split into configs by level."""
    publication.fetch()  # the card's patterns are matched with the files that are there
    if publication.kind != "pairs":
        return _same_hash(_load(publication, part), publication, part)
    levels = [level for level in LEVELS if any(file.startswith(level) for file in part_files(publication, part))]
    rows = chain.from_iterable(_load(publication, part, level) for level in levels)
    if (loaded := sum(1 for _ in _load(publication, part))) != publication.parts[part]["rows"]:
        raise InputError(f"{loaded} rows without a config, not {publication.parts[part]['rows']} as recorded")
    return _same_hash(rows, publication, part)


def _load(publication: Publication, part: str, config: str | None = None) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset

    try:
        with without_pattern(publication.folder) as folder:
            yield from load_dataset(folder, config, split=part, streaming=True)
    except Exception as error:  # `datasets` raises anything for a card or file that it cannot read
        raise InputError(f"it does not load: {first_line(error)}") from error


def _rebuilt(publication: Publication, part: str, folder: Path, num_proc: int) -> str:
    made = rebuild(publication, part, folder, num_proc)
    manifest = publication.parts[part]
    by_model = manifest["parameters"].get("reward", {}).get("kind") == "model"
    found = compare_rows(part_rows(publication, part), read_rows(made), REWARD_TOLERANCE if by_model else 0.0)
    if not found.identical:
        then, here = manifest.get("versions", {}), versions()
        others = [f"{name} {then[name]}, here {here[name]}" for name in here.keys() & then if then[name] != here[name]]
        cause = f"; it was made with {'; '.join(sorted(others))}" if others else ""
        raise InputError(f"published and rebuilt: {found}{cause}")
    return f"rewards within {REWARD_TOLERANCE}" if by_model else ""


def _checkpoint(publication: Publication, folder: Path) -> str:
    restored(publication, MODEL, folder)
    return "the files that training wrote"


def _loaded_model(publication: Publication) -> str:
    """The checkpoint with transformers' own code, without reading the weights into memory."""
    import transformers

    auto = "AutoModelForSequenceClassification" if publication.kind == "model" else "AutoModelForCausalLM"
    publication.fetch()
    try:
        transformers.AutoTokenizer.from_pretrained(publication.folder, trust_remote_code=False)
        loaded = getattr(transformers, auto).from_pretrained
        return type(loaded(publication.folder, trust_remote_code=False, device_map="meta")).__name__
    except Exception as error:  # transformers raises anything for files that it cannot read
        raise InputError(f"it does not load: {first_line(error)}") from error


def _scoring_code(publication: Publication, folder: Path) -> str:
    """Whether the code beside a reward model, which `trust_remote_code=True` would run, is this package's."""
    from openprm.push.model_files import add_scoring_code

    expected = folder / "scoring-code"
    shutil.rmtree(expected, ignore_errors=True)
    expected.mkdir(parents=True)
    shutil.copyfile(restored(publication, MODEL, folder) / "config.json", expected / "config.json")
    add_scoring_code(expected)
    for file in sorted(expected.iterdir()):
        there = publication.folder / file.name
        if not there.is_file() or files_hash(there) != files_hash(file):
            said, here = publication.manifest["published_by"], f"openprm {version('openprm')}"
            if said != here:
                raise Missing(f"{file.name} is of {said}, this is {here}; verify it with that version")
            raise InputError(f"{file.name} is not the file of this package; do not run it")
    return f"{len(list(expected.glob('*.py')))} modules of this package"
