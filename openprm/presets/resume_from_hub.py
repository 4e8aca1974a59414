"""Start a preset's run in the middle: restore the stages before the start from their publications.

The preset's own `publish` stage says which stage is published as which repository and split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import InputError
from ..hub.publication import MODEL, RECORDS, Publication, content_hash, open_publication
from ..hub.repository import Repository

Stages = Mapping[str, Mapping[str, Any]]


def before_start(
    stages: Stages, chosen: Sequence[str], owner: str, inputs_of: Callable[[str], Sequence[str]]
) -> tuple[dict[str, tuple[Publication, str]], list[str]]:
    """What the `chosen` stages of a run need from before them, each in the preset's order.

    Returns the stages to be restored, each with its publication and the part of it, and those that are not published,
    so that they are run, too. owner: `OWNER[@REVISION]`, or a local folder of publications. inputs_of: the stages that
    a stage reads. Downloads only manifests. Raises InputError where what the preset publishes cannot be opened.
    """
    published = published_as(stages)
    needed, pending = set(chosen), [before for name in chosen for before in inputs_of(name)]
    while pending:
        name = pending.pop()
        if name not in needed and name not in published:
            pending += inputs_of(name)
        needed.add(name)
    before = [name for name in stages if name in needed and name not in chosen]
    restored = {
        name: (_open_part(owner, *published[name])[0], published[name][1]) for name in before if name in published
    }
    return restored, [name for name in before if name not in restored]


def published_as(stages: Stages) -> dict[str, tuple[str, str]]:
    """By stage, the repository and the part of it that the preset publishes its result as."""
    found: dict[str, tuple[str, str]] = {}
    for entry in stages.values():
        if entry["run"] == "publish":
            for kind in RECORDS:
                found |= {stage: (kind, split) for split, stage in (entry.get(kind) or {}).items()}
            found |= {stage: (name, MODEL) for name, stage in (entry.get("models") or {}).items()}
    return found


def _open_part(owner: str, name: str, part: str) -> tuple[Publication, str]:
    """The publication, and the hash of its part."""
    publication = open_publication(Repository.of(owner, name))
    return publication, content_hash(publication.part(part))


def compare_published(manifests: Mapping[str, Mapping[str, Any]], stages: Stages, owner: str) -> dict[str, str]:
    """For each of these stages that is published: whether its result is identical to the published one, as text."""
    results = {}
    for stage, (name, part) in published_as(stages).items():
        if stage not in manifests:
            continue
        try:
            publication, recorded = _open_part(owner, name, part)
        except InputError as error:
            results[stage] = f"not compared: {error}"
            continue
        identical = recorded == content_hash(manifests[stage])
        results[stage] = f"{'identical' if identical else 'NOT identical'} to {publication.repository} ({part})"
        if not identical and part == MODEL:
            results[stage] += "; training on other hardware gives other weights"
        elif not identical:
            results[stage] += "; `openprm verify --against` says where"
    return results
