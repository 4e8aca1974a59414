"""The last look at a layout before anything is sent: its files, its cards, and what should stay on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

from openprm.errors import InputError
from openprm.runs.folder import MANIFEST
from openprm.runs.manifest import files_hash

from .cards import documents
from .repositories import Repository, file_names
from .secret_scan import here, scan

_SHOWN = 20


def check_layout(repositories: Sequence[Repository], *, places: Sequence[str] = (), allow: Sequence[str] = ()) -> None:
    """Checks an owner's repositories, all of them.

    places: folders of this machine that nothing should name, besides those that the scan knows. allow: exact texts
    that are known to be harmless.

    Raises InputError with all that is wrong: files that were changed since they were laid out, cards that say
    something else than their manifest, secrets, local paths.
    """
    secrets, known = here()
    problems: list[str] = []
    for repository in repositories:
        problems += [f"{repository.folder / problem}; lay it out again (--force)" for problem in _changed(repository)]
        found = scan(repository.folder, secrets, [*known, *places], allow)
        problems += [f"{repository.folder.name}/{finding}" for finding in found]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        listed = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        raise InputError(f"this is not fit to be published:{listed}{more}")


def _changed(repository: Repository) -> Iterator[str]:
    """The files that are not as they were laid out (a card: as its manifest has it), and what is the matter."""
    cards = {name: sha256(text.encode()).hexdigest() for name, text in documents(repository.manifest).items()}
    hashes = {**repository.manifest["files"], **cards}
    there = {*file_names(repository.folder)} - {MANIFEST}
    for name in sorted(there | hashes.keys()):
        if name not in there:
            yield f"{name} is missing"
        elif name not in hashes:
            yield f"{name} was added"
        elif files_hash(repository.folder / name) != hashes[name]:
            yield f"{name} was changed"
