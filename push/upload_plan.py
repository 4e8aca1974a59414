"""Which repositories a layout holds, and which files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openprm.errors import InputError
from openprm.runs.folder import MANIFEST

#: The kinds of a publication manifest, in the order of sending (what others are made of first), and the Hub's types.
TYPES = {
    "candidates": "dataset",
    "trees": "dataset",
    "pairs": "dataset",
    "policy": "model",
    "model": "model",
    "metric": "space",
    "demo": "space",
}


@dataclass(frozen=True)
class Planned:
    """A repository to be published. `name` is OWNER/NAME, `files` their sizes in bytes by path."""

    name: str
    kind: str
    folder: Path
    files: Mapping[str, int]

    @property
    def type(self) -> str:
        """dataset, model or space."""
        return TYPES[self.kind]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(self.files.values())

    def __str__(self) -> str:
        return f"{self.type} {self.name}"


def file_names(folder: Path) -> list[str]:
    """The paths of all files in a folder of a repository, as they are there, in order."""
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


def plan(root: Path, owner: str) -> list[Planned]:
    """The repositories below `root`, in the order of sending. Touches no network.

    Raises InputError for what is no repository (see `publications`), and for a name that the Hub does not allow.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    planned = []
    for folder, manifest in publications(root).items():
        name = f"{owner}/{folder.name}"
        try:
            validate_repo_id(name)
        except HFValidationError as error:
            raise InputError(f"{folder}: {name} cannot be the name of a repository: {error}; rename it") from None
        sizes = {path: (folder / path).stat().st_size for path in file_names(folder)}
        planned.append(Planned(name, manifest["kind"], folder, sizes))
    order = list(TYPES)
    return sorted(planned, key=lambda repository: (order.index(repository.kind), repository.name))


def publications(root: Path) -> dict[Path, dict[str, Any]]:
    """The folders below `root` with their publication manifests, in the order of their names.

    Raises InputError where there is none, and for anything else that lies there.
    """
    found = {}
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if not path.is_dir():
            raise InputError(f"{path} is no repository; move it elsewhere")
        manifest = publication((path / MANIFEST).read_bytes() if (path / MANIFEST).is_file() else b"")
        if manifest is None:
            raise InputError(f"{path} has no {MANIFEST} of a publication; lay it out again, or move it elsewhere")
        found[path] = manifest
    if not found:
        raise InputError(f"{root}: there is no repository to publish; lay out a finished run first")
    return found


def publication(manifest: bytes) -> dict[str, Any] | None:
    """The content of a publication manifest, None where it is none. Its `files` are a mapping from paths."""
    try:
        content = json.loads(manifest)
    except ValueError:
        return None
    ours = isinstance(content, dict) and str(content.get("published_by")).startswith("openprm ")
    if not ours or content.get("kind") not in [*TYPES] or not isinstance(content.get("files"), dict):
        return None
    return content
