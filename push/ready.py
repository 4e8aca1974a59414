"""The last look at a layout before anything is sent: its files, its cards, and what should stay on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openprm.push.card_check import check_card
from openprm.push.layout import CARD, write_publication
from openprm.push.scan import here, scan

from openprm.folder import MANIFEST
from openprm.rejections import InputError
from openprm.stages import files_hash

_SHOWN = 20


def make_ready(root: Path, *, places: Sequence[str] = (), allow: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Checks an owner's repositories, all of them; returns their manifests by name.

    A card that was edited by hand is checked like any other, and its hash entered. `places` are folders of this
    machine that nothing should name, besides those that the scan knows; `allow` are exact texts known to be harmless.

    Raises InputError with all that is wrong: files changed since they were laid out, cards, secrets, local paths.
    """
    secrets, known = here()
    problems: list[str] = []
    ready = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        changed = _changed(folder, manifest["files"])
        problems += [f"{folder / name} {what}; lay it out again (--force)" for name, what in changed.items()]
        card = (folder / CARD).read_text("utf-8")
        found = check_card(card, manifest)
        problems += [f"{folder / CARD}: {problem}" for problem in found]
        problems += [f"{folder.name}/{finding}" for finding in scan(folder, secrets, [*known, *places], allow)]
        if not problems and files_hash(folder / CARD) != manifest["files"][CARD]:
            write_publication(folder, {key: value for key, value in manifest.items() if key != "files"})
            manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        ready[folder.name] = manifest
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        listed = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        raise InputError(f"{root} is not fit to be published:{listed}{more}")
    return ready


def _changed(folder: Path, hashes: Mapping[str, str]) -> dict[str, str]:
    """The files, but for the card, that are not as they were laid out, and what is the matter."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    found = {name: "is missing" for name in hashes if name not in there}
    found |= {name: "was added" for name in there if name not in hashes}
    for name in sorted(there & set(hashes) - {CARD}):
        if files_hash(folder / name) != hashes[name]:
            found[name] = "was changed"
    return found
