"""An owner's repositories: on the Hub, or as folders side by side below a local one.

The Hub's client reads HF_ENDPOINT, the login and the cache; whatever it raises becomes an InputError that says what
to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError, first_line, is_disk_full
from ..hub_id import HubId
from ..runs.folder import MANIFEST

TYPES = ("dataset", "model", "space")

_NAME = re.compile(r"[\w-][\w.-]*")


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
        hub = HubId.parse(str(owner))
        is_owner = hub is not None and hub.config is None and "/" not in hub.repository
        if os.path.isdir(owner) and (not is_owner or any(Path(owner).glob(f"*/{MANIFEST}"))):
            return cls(os.path.abspath(owner), name, is_local=True)
        if hub is None or not is_owner:
            raise InputError(f"{owner} is neither a folder that exists nor OWNER[@REVISION] on the Hub")
        return cls(hub.repository, name, hub.revision)

    def sibling(self, name: str) -> Repository:
        """Another repository of the same owner, at the same revision.

        Raises InputError for what is no name: it may be of a stranger's manifest, and leads to no other folder.
        """
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name of a repository")
        return replace(self, name=name)

    @property
    def id(self) -> str:
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        return f"{self.id}@{self.revision}" if self.revision else self.id


class Missing(InputError):
    """What would have to be read is not there, or is not given: no word on whether it is as it should be."""


class NoSuchRepository(Missing):
    """There is no repository of this name and type, as far as one may see."""


class NoSuchRevision(Missing):
    """There is the repository, but not at this revision."""


def download(repository: Repository, kind: str, patterns: Iterable[str] | None) -> Path:
    """The folder in the Hub's cache, called as the commit, with at least the files of these patterns (None: all)."""
    from huggingface_hub import snapshot_download

    wanted = None if patterns is None else list(patterns)
    try:
        return Path(
            snapshot_download(repository.id, repo_type=kind, revision=repository.revision, allow_patterns=wanted)
        )
    except Exception as error:  # of whatever HTTP client the Hub's library uses
        raise hub_error(repository, error) from error


def hub_error(repository: Repository, error: Exception) -> Exception:
    """What the Hub's client raised, in words; but a full disk as it is."""
    from huggingface_hub import errors

    if is_disk_full(error):
        return error
    # for want of the network, or of leave, the library looks into its cache, and then speaks of that
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.GatedRepoError) or status == 403:
        return Missing(f"{repository}: you may not read it; log in with a token that may (`hf auth login`)")
    if isinstance(error, errors.RepositoryNotFoundError):
        return NoSuchRepository(
            f"{repository}: there is no such repository, or you may not see it; check the name, or log in"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NoSuchRevision(f"{repository}: the repository has no such revision; check what is behind the @")
    if status == 401:
        return Missing(f"{repository}: the Hub does not accept your token; log in again (`hf auth login`)")
    if isinstance(error, errors.HFValidationError):
        return Missing(f"{repository}: that is no name of a repository: {first_line(error)}")
    return Missing(
        f"{repository}: the Hub does not give it ({type(error).__name__}: {first_line(error)}); check the connection, "
        "and run the same command again: what has come stays"
    )


def commit(repository: Repository, kind: str) -> str:
    """The commit that its revision is now, as the Hub says, whatever is in the cache."""
    from huggingface_hub import HfApi

    try:
        return str(HfApi().repo_info(repository.id, repo_type=kind, revision=repository.revision).sha)
    except Exception as error:  # of whatever HTTP client the Hub's library uses
        raise hub_error(repository, error) from error


def commits(repository: Repository, kind: str) -> list[str]:
    """The commits that lead to the newest state, that one first."""
    from huggingface_hub import HfApi

    try:
        return [commit.commit_id for commit in HfApi().list_repo_commits(repository.id, repo_type=kind)]
    except Exception as error:  # of whatever HTTP client the Hub's library uses
        raise hub_error(repository, error) from error


def model_names(near: Repository) -> list[str]:
    """The names of the models that the owner of `near` has (in a local folder, of all that is published there)."""
    if near.is_local:
        return sorted(folder.parent.name for folder in Path(near.owner).glob(f"*/{MANIFEST}"))
    from huggingface_hub import HfApi

    try:
        return [model.id.partition("/")[2] for model in HfApi().list_models(author=near.owner)]
    except Exception as error:  # of whatever HTTP client the Hub's library uses
        raise hub_error(near, error) from error
