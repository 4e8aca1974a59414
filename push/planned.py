"""Which repositories a layout holds, and which files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openprm.folder import MANIFEST
from openprm.rejections import InputError

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


def plan(root: Path, owner: str) -> list[Planned]:
    """The repositories below `root`, in the order of sending. Touches no network.

    Raises InputError for a folder without a publication manifest, and for a name that the Hub does not allow.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    planned = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []:
        name = f"{owner}/{folder.name}"
        try:
            validate_repo_id(name)
        except HFValidationError as error:
            raise InputError(f"{folder}: {name} cannot be the name of a repository: {error}; rename it") from None
        kind = publication_kind((folder / MANIFEST).read_bytes() if (folder / MANIFEST).is_file() else b"")
        if kind is None:
            raise InputError(f"{folder} has no {MANIFEST} of a publication; lay it out again, or move it elsewhere")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
        planned.append(Planned(name, kind, folder, sizes))
    if not planned:
        raise InputError(f"{root}: there is no repository to publish; lay out a finished run first")
    order = list(TYPES)
    return sorted(planned, key=lambda repository: (order.index(repository.kind), repository.name))


def publication_kind(manifest: bytes) -> str | None:
    """The kind that a publication manifest says, None where it is none."""
    try:
        content = json.loads(manifest)
    except ValueError:
        return None
    ours = isinstance(content, dict) and str(content.get("published_by")).startswith("openprm ")
    return content.get("kind") if ours and content.get("kind") in TYPES else None
