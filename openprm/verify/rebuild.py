"""Rebuild a published split from the published artifact before it, by the stage and parameters of its manifest.

A manifest may come from anyone: inputs are found by their content hash, so that no path is taken from a name in it,
and no remote code is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..hub.publication import MODELS, RECORDS, Publication, content_hash, open_publication, part_rows, restore
from ..hub.repository import Missing, Repository, commits, download, model_names
from ..rewards.base import TIMED_OUT, UNPARSABLE
from ..runs.dataset import finish_dataset, write_shards
from ..runs.declaration import stage_from_manifest
from ..runs.manifest import run_stage
from ..schema import Candidate
from ..stages.reward import RewardResponses
from ..stages.trees import Trees

# options of engines, all numbers or switches, that a publication may set on this machine
_HARMLESS = {"max_model_len", "enable_prefix_caching", "block_size"}

#: By where labels are from, the kind of publication that each input of them is in; of others none holds them.
_LABELS_OF: Mapping[str, Mapping[str, str]] = {
    "tree": {"labels": "trees"},
    "labels": {"labels": "labels"},
    "consensus": {"labels": "labels", "other": "labels"},
}


class NotRebuildable(InputError):
    """No published artifact determines this one: samples, trained weights, the rewards of a judge, given data."""


def rebuild(publication: Publication, part: str, folder: Path, num_proc: int = 1) -> Path:
    """Rebuilds a split of trees, pairs or rewarded candidates; returns the folder of its stage, below `folder`.

    A killed rebuild is resumed. Raises NotRebuildable where no published artifact determines the split, Missing where
    one that does cannot be had, and InputError where its manifest does not record what it should.
    """
    manifest = publication.parts[part]
    name, roles = manifest["stage"], [*manifest["inputs"]]
    kinds = _LABELS_OF.get(manifest["parameters"].get("by"), {}) if name == "label" else {}
    if name not in ("trees", "pairs", "label-pairs", "reward") and not kinds:
        raise NotRebuildable(f"the result of the stage {name!r} is not determined by a published artifact")
    if manifest["parameters"].get("trust_remote_code"):
        raise NotRebuildable("it was made with --trust-remote-code, and remote code is not run here")
    inputs = {}
    if name == "reward":
        inputs["candidates"] = str(_unrewarded(publication, part, folder))
        roles = [role for role in roles if role == "model"]
    inputs |= {role: str(_input(publication, part, role, folder, kinds.get(role, role))) for role in roles}
    stage = stage_from_manifest(manifest, inputs)
    if isinstance(stage, RewardResponses):
        if stage.by in ("judge", "file"):
            raise NotRebuildable(f"its rewards are not computed again (by: {stage.by})")
        if unknown := stage.engine_options.keys() - _HARMLESS:
            raise Missing(f"the engine option {min(unknown)!r} of others is not set on this machine")
        stage = replace(stage, allow_failures=True)
    elif isinstance(stage, Trees):
        stage = replace(stage, num_proc=num_proc)
    out = _folder(publication, part, folder, "-rebuilt")
    stage.run(out)
    return out


def restored(publication: Publication, part: str, folder: Path) -> Path:
    """A part of a publication as its stage wrote it: a folder below `folder`."""
    out = _folder(publication, part, folder)
    restore(publication, part, out)
    return out


def _folder(publication: Publication, part: str, folder: Path, suffix: str = "") -> Path:
    return folder / f"{publication.kind}-{content_hash(publication.part(part))[:16]}{suffix}"


def _input(publication: Publication, part: str, role: str, folder: Path, kind: str) -> Path:
    """An input of the stage that made the split, restored from the owner's other publications, of this kind.

    Whatever is wrong with it says nothing about the split itself, so it is raised as Missing.
    """
    recorded = publication.parts[part]["inputs"][role]
    content = recorded["hash"]
    if not isinstance(content, str) or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", content):
        raise InputError(f"what its manifest records of the input {role!r} is not a hash")
    is_model = role in ("model", "embedder")
    if not is_model and kind not in RECORDS:
        raise NotRebuildable(f"it was made from {role} that others gave")
    near = publication.repository
    try:
        if not is_model:
            project = near.name.rpartition(publication.kind)[0]  # what the names of its repositories begin with
            found = _find(_revisions(replace(near, name=project + kind)), (kind,), content)
        elif len(content) == 40:  # a commit on the Hub
            return download(Repository.parse(f"{recorded['name'].partition('@')[0]}@{content}"), "model", None)
        else:
            found = _find((replace(near, name=name, revision=None) for name in model_names(near)), MODELS, content)
        if found is None:
            raise Missing(f"no {role} of {near.owner} has the content {content[:12]}...")
        return restored(*found, folder)
    except InputError as error:
        raise Missing(str(error)) from error


def _find(places: Iterable[Repository], kinds: Sequence[str], content: str) -> tuple[Publication, str] | None:
    """The first publication of one of these kinds, and the part of it, with this content (see `content_hash`).

    Of each only the manifest is downloaded.
    """
    for place in places:
        with suppress(InputError):  # of another tool, or a commit before the first publication
            publication = open_publication(place)
            for part, manifest in publication.parts.items():
                if publication.kind in kinds and content_hash(manifest) == content:
                    return publication, part
    return None


def _revisions(repository: Repository) -> Iterator[Repository]:
    """A repository at its revision, then at the newest, then as it was before, which is asked for only when needed."""
    yield repository
    newest = replace(repository, revision=None)
    yield newest
    publication = open_publication(newest)  # raises what is wrong with the repository
    if not repository.is_local:
        yield from (replace(repository, revision=commit) for commit in commits(newest, publication.type))


def _unrewarded(publication: Publication, part: str, folder: Path) -> Path:
    """The published candidates as they were before their last reward: a folder of candidates."""
    name = publication.parts[part]["parameters"]["name"]

    def without(row: Mapping[str, Any]) -> dict[str, Any]:
        rewards = [reward for reward in row["rewards"] if reward["name"] != name]
        # the mark may belong to another of the rewards: which one left it is not recorded
        marks = row["marks"] if rewards else [mark for mark in row["marks"] if mark not in (UNPARSABLE, TIMED_OUT)]
        return {**row, "rewards": rewards, "marks": marks}

    def work(unfinished: Path) -> dict[str, Any]:
        rows = map(without, part_rows(publication, part))
        digests = write_shards(unfinished, rows, Candidate)
        return finish_dataset(unfinished, Candidate, "candidates", digests, {})

    out = _folder(publication, part, folder, "-unrewarded")
    run_stage(out, "candidates", {"without": name}, {}, work, force=True)  # the rows may have changed since
    return out
