"""Start a preset's run in the middle: restore the stages before the start from their publications.

The preset's own `publish` stage says which stage is published as which repository and split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..hub.publication import MODEL, RECORDS, Publication, content_hash, open_publication
from ..hub.repository import Repository

Stages = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ResumePlan:
    """Which stages are restored and which run, each in the preset's order.

    restored: by stage, the publication and its part. made: stages that run. unpublished: those of them from before
    the start, which are needed and not published.
    """

    restored: Mapping[str, tuple[Publication, str]]
    made: Sequence[str]
    unpublished: Sequence[str]


def plan_resume(
    stages: Stages, start: str, end: str, owner: str, inputs_of: Callable[[str], Sequence[str]]
) -> ResumePlan:
    """The plan to run the stages from `start` (a stage's name, or a kind: its first stage) to the stage `end`.

    owner: `OWNER[@REVISION]`, or a local folder of publications. inputs_of: the stages that a stage reads. A needed
    stage from before the start is restored where the preset publishes it, else it is run, too. Downloads only
    manifests. Raises InputError where there is no such start, it comes after the end, or what the preset publishes
    cannot be opened.
    """
    names = [*stages]
    first = start if start in stages else next((name for name in names if stages[name]["run"] == start), None)
    if first is None:
        kinds = dict.fromkeys(entry["run"] for entry in stages.values())
        raise InputError(f"the preset has no stage {start!r}; its kinds are {', '.join(kinds)}")
    chosen = names[names.index(first) : names.index(end) + 1]
    if not chosen:
        raise InputError(f"the run would end (at {end!r}) before it starts (at {first!r})")
    published = published_as(stages)
    needed, pending = set(chosen), [before for name in chosen for before in inputs_of(name)]
    while pending:
        name = pending.pop()
        if name not in needed and name not in published:
            pending += inputs_of(name)
        needed.add(name)
    before = [name for name in names if name in needed and name not in chosen]
    restored = {name: published[name] for name in before if name in published}
    return ResumePlan(
        {name: (_open_part(owner, *place)[0], place[1]) for name, place in restored.items()},
        [name for name in names if name in needed and name not in restored],
        [name for name in before if name not in restored],
    )


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
