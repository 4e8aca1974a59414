"""The last look at a layout before anything is sent: its files, its cards, and what should stay on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from openprm.push.card_check import check_card, check_eval_results
from openprm.push.layout import CARD, write_publication
from openprm.push.secret_scan import here, scan
from openprm.push.upload_plan import file_names, publications

from openprm.errors import InputError
from openprm.runs.folder import MANIFEST
from openprm.runs.manifest import files_hash

_SHOWN = 20


def make_ready(root: Path, *, places: Sequence[str] = (), allow: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Checks an owner's repositories, all of them; returns their manifests by name.

    A card that was edited by hand is checked like any other, and its hash entered. `places` are folders of this
    machine that nothing should name, besides those that the scan knows; `allow` are exact texts known to be harmless.

    Raises InputError with all that is wrong: files changed since they were laid out, cards, secrets, local paths; and
    for anything beside the repositories.
    """
    secrets, known = here()
    problems: list[str] = []
    ready = {}
    for folder, manifest in publications(root).items():
        changed = _changed(folder, {CARD: None, **manifest["files"]})
        problems += [f"{folder / name} {what}; lay it out again (--force)" for name, what in changed.items()]
        problems += _said(folder, manifest)
        problems += [f"{folder.name}/{finding}" for finding in scan(folder, secrets, [*known, *places], allow)]
        if not problems and files_hash(folder / CARD) != manifest["files"].get(CARD):
            write_publication(folder, {key: value for key, value in manifest.items() if key != "files"})
            manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        ready[folder.name] = manifest
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        listed = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        raise InputError(f"{root} is not fit to be published:{listed}{more}")
    return ready


def _said(folder: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the card and the results of a repository, which say what its manifest says."""
    card = partial(check_card, files=manifest["files"])
    checks = [(path, check_eval_results) for path in sorted(folder.glob(".eval_results/*.yaml"))]
    for path, check in [(path, card) for path in folder.glob(CARD)] + checks:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            yield f"{path} cannot be read: {error}; save it as UTF-8"
        else:
            yield from (f"{path}: {problem}" for problem in check(text, manifest))


def _changed(folder: Path, hashes: Mapping[str, str | None]) -> dict[str, str]:
    """The files, but for the card, that are not as they were laid out, and what is the matter."""
    there = set(file_names(folder)) - {MANIFEST}
    found = {name: "is missing" for name in hashes if name not in there}
    found |= {name: "was added" for name in there if name not in hashes}
    for name in sorted(there & set(hashes) - {CARD}):
        if files_hash(folder / name) != hashes[name]:
            found[name] = "was changed"
    return found
