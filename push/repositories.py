"""The repositories of a layout: their names, kinds and files, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openprm.errors import InputError
from openprm.hub.publication import open_publication

CARD = "README.md"

#: The Hub's type of each kind of publication, in the order of sending: what others are made of first.
TYPES = {
    "candidates": "dataset",
    "trees": "dataset",
    "pairs": "dataset",
    "policy": "model",
    "model": "model",
    "demo": "space",
}


@dataclass(frozen=True)
class Repository:
    """A repository to be published: `name` is OWNER/NAME, `manifest` the publication manifest in `folder`."""

    name: str
    folder: Path
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return self.manifest["kind"]

    @property
    def type(self) -> str:
        """dataset, model or space."""
        return TYPES[self.kind]

    @property
    def files(self) -> dict[str, int]:
        """Sizes in bytes by path."""
        return {path: (self.folder / path).stat().st_size for path in file_names(self.folder)}

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(self.files.values())

    def __str__(self) -> str:
        return f"{self.type} {self.name}"


def file_names(folder: Path) -> list[str]:
    """The paths of all files in a repository's folder, in order."""
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


def repositories(root: Path, owner: str) -> list[Repository]:
    """The repositories below `root`, in the order of sending. Touches no network.

    Raises InputError where there is none, for anything else in `root`, and for a name that the Hub does not allow.
    """
    found = []
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if not path.is_dir():
            raise InputError(f"{path} is not a repository; move it elsewhere")
        name = f"{owner}/{path.name}"
        check_name(name)
        found.append(Repository(name, path, open_publication(path).manifest))
    if not found:
        raise InputError(f"{root}: there is no repository to publish; lay out a finished run first")
    order = list(TYPES)
    return sorted(found, key=lambda repository: (order.index(repository.kind), repository.name))


def check_name(name: str) -> None:
    """Raises InputError for a name OWNER/NAME that the Hub does not allow."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"{name} cannot be the name of a repository: {error}; rename it") from None
    if name.count("/") != 1:
        raise InputError(f"{name} cannot be the name of a repository: that is OWNER/NAME; rename it")
