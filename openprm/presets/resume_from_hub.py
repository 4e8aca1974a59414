"""Begin a preset's run in the middle: what of the stages before is restored from published artifacts, what is made.

The preset's own `publish` stage says which stage is published as which repository and split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..hub.publication import MODEL, RECORDS, Publication, open_publication, part_hash
from ..hub.repository import Repository

Stages = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Beginning:
    """A run that begins in the middle, all in the preset's order.

    restored: stages whose result is taken from a part of what is published.
    made: stages that run. unpublished: those of them from before the start, of which nothing is published.
    """

    restored: Mapping[str, tuple[Publication, str]]
    made: Sequence[str]
    unpublished: Sequence[str]


def published_as(stages: Stages) -> dict[str, tuple[str, str]]:
    """By stage: the repository and the part of it that its result is published as."""
    found: dict[str, tuple[str, str]] = {}
    for entry in stages.values():
        if entry["run"] == "publish":
            for kind in RECORDS:
                found |= {stage: (kind, split) for split, stage in (entry.get(kind) or {}).items()}
            found |= {stage: (name, MODEL) for name, stage in (entry.get("models") or {}).items()}
    return found


def plan_beginning(
    stages: Stages, start: str, end: str, owner: str, needs: Callable[[str], Sequence[str]]
) -> Beginning:
    """What to do to run the stages from `start` (a stage's name, else the first of a kind) to the stage `end`.

    `needs` gives the stages that one takes as inputs. One from before the start is restored where the preset
    publishes it, else made in turn. Only manifests are downloaded. Raises InputError where there is no such start, it
    comes after the end, or what the preset publishes cannot be opened at `owner` (`OWNER[@REVISION]`, or a folder).
    """
    names = [*stages]
    first = next((name for name, entry in stages.items() if start in (name, entry["run"])), None)
    first = start if start in stages else first
    if first is None:
        kinds = dict.fromkeys(entry["run"] for entry in stages.values())
        raise InputError(f"the preset has no stage {start!r}; its kinds are {', '.join(kinds)}")
    chosen = names[names.index(first) : names.index(end) + 1]
    if not chosen:
        raise InputError(f"the run would end (at {end!r}) before it starts (at {first!r})")
    repositories = published_as(stages)
    restored: dict[str, tuple[Publication, str]] = {}
    made = set(chosen)

    def require(name: str) -> None:
        if name in made or name in restored:
            return
        if name in repositories:
            restored[name] = open_part(owner, *repositories[name])
            return
        made.add(name)
        for before in needs(name):
            require(before)

    for name in chosen:
        for before in needs(name):
            require(before)
    return Beginning(
        {name: restored[name] for name in names if name in restored},
        [name for name in names if name in made],
        [name for name in names if name in made and name not in chosen],
    )


def open_part(owner: str, name: str, part: str) -> tuple[Publication, str]:
    """The publication, and the part. Raises InputError where it is not there."""
    publication = open_publication(Repository.of(owner, name))
    if part not in publication.parts:
        raise InputError(
            f"{publication.repository} has no part {part!r}, as the preset says; there are "
            f"{', '.join(publication.parts) or 'none'}"
        )
    return publication, part


def compared(manifests: Mapping[str, Mapping[str, Any]], stages: Stages, owner: str) -> dict[str, str]:
    """By stage, in words, whether what was made is what is published; of stages that are not published nothing."""
    said = {}
    for stage, (name, part) in published_as(stages).items():
        if stage not in manifests:
            continue
        try:
            publication, _ = open_part(owner, name, part)
        except InputError as error:
            said[stage] = f"not compared: {error}"
            continue
        made = manifests[stage].get("row_hash") or manifests[stage]["files_hash"]
        there = f"{publication.repository} ({part})"
        if made == part_hash(publication, part):
            said[stage] = f"identical to {there}"
        else:
            hint = "training on other hardware gives other weights" if part == MODEL else "`openprm diff` says where"
            said[stage] = f"NOT identical to {there}; {hint}"
    return said
