"""An owner's repositories: on the Hub, or as folders side by side below a local one.

The Hub's client reads HF_ENDPOINT, the login and the cache; whatever it raises becomes an InputError that says what to
do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..hub_id import HubId
from ..runs.folder import MANIFEST
from .client_errors import HubProblem

TYPES = ("dataset", "model", "space")


@dataclass(frozen=True)
class Repository:
    """One repository of an owner: on the Hub, at a revision (None: the newest); or below a local folder."""

    owner: str
    name: str
    revision: str | None = None
    is_local: bool = False

    @classmethod
    def parse(cls, text: str | Path) -> Repository:
        """`OWNER/NAME[@REVISION]`, or a local folder. Raises InputError for anything else.

        A folder called like a repository on the Hub is meant only where it is a publication.
        """
        hub = HubId.parse(str(text))
        is_hub_id = hub is not None and hub.config is None and "/" in hub.repository
        if os.path.isdir(text) and (not is_hub_id or os.path.exists(Path(text) / MANIFEST)):
            parent, name = os.path.split(os.path.abspath(text))
            return cls(parent, name, is_local=True)
        if hub is None or not is_hub_id:
            raise InputError(f"{text} is neither a folder that exists nor OWNER/NAME[@REVISION] on the Hub")
        owner, name = hub.repository.split("/")
        return cls(owner, name, hub.revision)

    @classmethod
    def of(cls, owner: str | Path, name: str) -> Repository:
        """The repository `name` of an owner: `OWNER[@REVISION]`, or a local folder of publications."""
        if os.path.isdir(folder := os.path.join(owner, name)):
            return cls.parse(folder)
        owner, at, revision = str(owner).partition("@")
        return cls.parse(f"{owner}/{name}{at}{revision}")

    @property
    def id(self) -> str:
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        return f"{self.id}@{self.revision}" if self.revision else self.id


class Missing(InputError):
    """What is needed is not there or cannot be had, which says nothing about whether it is as it should be."""


class NotFound(Missing):
    """The Hub has no such repository of this type, or not at this revision."""


def download(repository: Repository, repo_type: str, patterns: Iterable[str] | None) -> Path:
    """The folder in the Hub's cache, named by the commit, with at least the files of these patterns (None: all)."""
    from huggingface_hub import snapshot_download

    wanted = None if patterns is None else list(patterns)
    with _client_errors(repository):
        return Path(
            snapshot_download(repository.id, repo_type=repo_type, revision=repository.revision, allow_patterns=wanted)
        )


def commits(repository: Repository, repo_type: str) -> list[str]:
    """The commit of its revision according to the Hub, whatever is in the cache, then those before it."""
    from huggingface_hub import HfApi

    with _client_errors(repository):
        found = HfApi().list_repo_commits(repository.id, repo_type=repo_type, revision=repository.revision)
        return [commit.commit_id for commit in found]


def model_names(near: Repository) -> list[str]:
    """The names of the models of the owner of `near` (in a local folder, of all publications)."""
    if near.is_local:
        return sorted(folder.parent.name for folder in Path(near.owner).glob(f"*/{MANIFEST}"))
    from huggingface_hub import HfApi

    with _client_errors(near):
        return [model.id.partition("/")[2] for model in HfApi().list_models(author=near.owner)]


@contextmanager
def _client_errors(repository: Repository) -> Iterator[None]:
    """Raises what the Hub's client raises as Missing, with what to do."""
    try:
        yield
    except Exception as error:  # of whatever HTTP client the Hub's library uses
        problem = HubProblem(error)
        raise (NotFound if problem.is_not_found else Missing)(f"{repository}: {problem}") from error
