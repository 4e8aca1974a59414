"""Find published artifacts by the hash of their content, at the newest revision or an earlier one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from ..errors import InputError
from .publication import MODELS, Publication, open_publication, part_hash
from .repository import Missing, Repository, commits, model_names


def find_dataset(repository: Repository, kind: str, content: str) -> tuple[Publication, str]:
    """The publication of this kind, and the split of it, whose `row_hash` is `content`.

    Looks at the repository's revision, then the newest one, then its history; of each only the manifest is
    downloaded. Raises Missing where there is none, InputError where the repository cannot be opened.
    """
    for revision in _revisions(repository):
        with suppress(InputError):  # a revision of another repository, or a commit before the first publication
            publication = open_publication(replace(repository, revision=revision))
            if publication.kind == kind and (part := _part_with(publication, content)):
                return publication, part
    raise Missing(f"{repository}: no revision of it has {kind} with the content {content[:12]}...")


def _revisions(repository: Repository) -> Iterator[str | None]:
    """The likeliest revisions first; the history is asked for only when it is needed."""
    if repository.revision is not None:
        yield repository.revision
    yield None
    newest = open_publication(replace(repository, revision=None))  # raises what is wrong with the repository
    if not repository.is_local:
        yield from commits(repository, newest.type)


def find_model(near: Repository, content: str) -> tuple[Publication, str]:
    """The model or policy of the owner of `near`, as published now, whose `files_hash` is `content`.

    Raises Missing where there is none.
    """
    for name in model_names(near):
        with suppress(InputError):  # of another tool, without a manifest
            publication = open_publication(replace(near, name=name, revision=None))
            if publication.kind in MODELS and (part := _part_with(publication, content)):
                return publication, part
    raise Missing(f"no model of {near.owner} has the content {content[:12]}...")


def _part_with(publication: Publication, content: str) -> str | None:
    return next((part for part in publication.parts if part_hash(publication, part) == content), None)
