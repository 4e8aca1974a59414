"""Find what was published by its content: in an owner's repositories, as they are now or were before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from ..errors import InputError
from .publication import MODELS, Publication, open_publication, part_hash
from .repository import Missing, NoSuchRepository, Repository, commits, model_names


def find_part(repository: Repository, content: str) -> tuple[Publication, str]:
    """The part whose content has this hash: at the repository's revision, at its newest, or at an earlier commit.

    Raises Missing where there is none. Of a commit no more than the manifest is downloaded.
    """
    problem: InputError | None = None
    for revision in _revisions(repository):
        try:
            publication = open_publication(replace(repository, revision=revision))
        except NoSuchRepository:
            raise
        except InputError as error:  # a revision that only other repositories have, a commit before the first manifest
            problem = problem or error
            continue
        if part := _part_with(publication, content):
            return publication, part
    why = f" ({problem})" if problem else ""
    raise Missing(f"{repository}: no part of it, now or before, has the content {content[:12]}...{why}")


def _part_with(publication: Publication, content: str) -> str | None:
    return next((part for part in publication.parts if part_hash(publication, part) == content), None)


def _revisions(repository: Repository) -> Iterator[str | None]:
    """Revisions to look at, the likeliest first; the history is asked for only when it is needed."""
    yield repository.revision
    if repository.is_local:
        return
    if repository.revision is not None:
        yield None
    newest = open_publication(replace(repository, revision=None))
    yield from commits(repository, newest.type)


def find_model(near: Repository, name: str, content: str) -> tuple[Publication, str]:
    """The model or policy with this `files_hash`: in the owner's repository `name`, or in any other as it is now.

    Raises Missing where there is none.
    """
    with suppress(InputError):
        found, part = find_part(near.sibling(name), content)
        if found.kind in MODELS:
            return found, part
    for other in model_names(near):
        with suppress(InputError):  # of another tool, without a manifest
            publication = open_publication(replace(near, name=other, revision=None))
            if publication.kind in MODELS and (same := _part_with(publication, content)):
                return publication, same
    raise Missing(f"no model of {near.owner} has the content {content[:12]}... (it was called {name!r} when made)")
