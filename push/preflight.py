"""The last look at a layout before anything is sent: its files, its cards, and what should stay on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from openprm.errors import InputError
from openprm.hub.publication import TYPE_OF, Publication, check_files, open_publication

from .cards import documents
from .secret_scan import here, scan

_SHOWN = 20


def laid_out(root: Path) -> list[Publication]:
    """The publications below `root`, in the order of sending. Touches no network.

    Raises InputError where there is none, and for anything else in `root`.
    """
    found = []
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if not path.is_dir():
            raise InputError(f"{path} is not a repository; move it elsewhere")
        found.append(open_publication(path))
    if not found:
        raise InputError(f"{root}: there is no repository to publish; lay out a finished run first")
    order = list(TYPE_OF)
    return sorted(found, key=lambda publication: order.index(publication.kind))


def check_layout(
    publications: Sequence[Publication], *, places: Sequence[str] = (), allow: Sequence[str] = ()
) -> None:
    """Checks an owner's publications, all of them.

    places: folders of this machine that nothing should name, besides those that the scan knows. allow: exact texts
    that are known to be harmless.

    Raises InputError with all that is wrong: files that were changed since they were laid out, cards that say
    something else than their manifest, secrets, local paths.
    """
    secrets, known = here()
    problems: list[str] = []
    for publication in publications:
        folder, listed = publication.folder, publication.manifest["files"]
        changed = check_files(publication)
        for name, text in documents(publication.manifest).items():
            if listed.get(name) != sha256(text.encode()).hexdigest():
                changed.append(f"{name} is not what its manifest says")
        problems += [f"{folder / problem}; lay it out again (--force)" for problem in changed]
        problems += [f"{folder.name}/{found}" for found in scan(folder, secrets, [*known, *places], allow)]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        listing = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        raise InputError(f"this is not fit to be published:{listing}{more}")
