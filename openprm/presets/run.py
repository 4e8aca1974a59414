"""Run a preset, from its start or from what is published, and lay a finished run out to be published.

A stage whose inputs and parameters have not changed is skipped. The preset's own `publish` stage says which stage is
published as which repository and split.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..hub.publication import MODEL, RECORDS, Publication, content_hash, open_publication, restore
from ..hub.repository import Repository
from ..push.publish import OWNER, Publish
from ..runs.atomic import write_whole
from ..runs.folder import finished, is_folder, without_pattern
from .preset import load_preset, stage_of, stages_of

#: A run's folder holds its preset under this name.
PRESET = "preset.yaml"


def run_preset(
    preset: Mapping[str, Any],
    out: str | Path,
    *,
    until: str | None = None,
    start: str | None = None,
    published: str | None = None,
    force: bool = False,
    made: Callable[[str, Mapping[str, Any]], None] = lambda name, manifest: None,
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Makes the stages of a preset in folders below `out`; returns their manifests by name.

    until: a stage's name or kind; the run ends after it (the last such stage). start: a stage's name or kind; the run
    starts at it (the first such stage), and what it needs from earlier stages is restored from what an owner
    `published` (`OWNER[@REVISION]` on the Hub, or a local folder of repositories); only what the preset does not
    publish is made. Then each published stage that was made is compared with what is published.

    made: called with each stage's name and manifest, once it is made.

    Stages that were made with other parameters are replaced with `force` alone. Raises InputError before anything is
    made where a stage is unknown or what is needed is not published.
    """
    stages, out = preset["stages"], Path(out)
    names = [*stages]
    chosen = names[: names.index(_named(stages, until)[-1]) + 1] if until else names
    if (start is None) != (published is None):
        raise InputError("a run starts in the middle from what is published: give both --start and --from")
    restored: Mapping[str, tuple[Publication, str]] = {}
    unpublished: list[str] = []
    if start is not None and published is not None:
        first = start if start in stages else _named(stages, start)[0]
        if first not in chosen:
            raise InputError(f"the run would end (at {chosen[-1]!r}) before it starts (at {first!r})")
        chosen = chosen[names.index(first) :]
        restored, unpublished = _before_start(stages, chosen, published)
    out.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(preset), sort_keys=False, allow_unicode=True)
    if not (out / PRESET).exists():  # else once the run was not refused
        write_whole(out / PRESET, text)
    manifests: dict[str, dict[str, Any]] = {}
    for name, (publication, part) in restored.items():
        say(f"{name}: from {publication.repository} ({part})")
        manifests[name] = restore(publication, part, out / name)
    for name in unpublished:
        say(f"{name}: not published, so it is made here")
    for name in [*unpublished, *chosen]:
        started = time.monotonic()
        say(f"{name} ...")
        before = finished(out / name)
        manifests[name] = stage_of(stages, name, out).run(out / name, replace=force)
        took = f" ({time.monotonic() - started:.1f} s)"
        say(f"{name}: {out / name}{' was already made' if manifests[name] == before else took}")
        made(name, manifests[name])
    write_whole(out / PRESET, text)
    if published is not None:
        for name, (repository, part) in _published_as(stages).items():
            if name in manifests and name not in restored:
                say(f"{name}: {_compared(manifests[name], published, repository, part)}")
    return manifests


def _named(stages: Mapping[str, Any], text: str) -> list[str]:
    """The stages of this name or kind."""
    found = [name for name, entry in stages.items() if text in (name, entry["run"])]
    if not found:
        kinds = dict.fromkeys(entry["run"] for entry in stages.values())
        raise InputError(f"the preset has no stage {text!r}; its kinds are {', '.join(kinds)}")
    return found


def _before_start(
    stages: Mapping[str, Any], chosen: Sequence[str], owner: str
) -> tuple[dict[str, tuple[Publication, str]], list[str]]:
    """What the `chosen` stages need from before them: stages to restore, each with its publication and part, and
    stages that are not published, so that they are run, too. Downloads only manifests.
    """
    if not (published := _published_as(stages)):
        raise InputError("the preset has no stage that publishes, so nothing can be taken from what is published")
    needed = {before for name in chosen for before in stages_of(stages, name)}
    for name in reversed([*stages]):  # a stage reads only earlier ones
        if name in needed and name not in published:
            needed.update(stages_of(stages, name))
    before = [name for name in stages if name in needed and name not in chosen]
    restored = {
        name: (_open_part(owner, *published[name])[0], published[name][1]) for name in before if name in published
    }
    return restored, [name for name in before if name not in restored]


def _published_as(stages: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """By stage, the repository and the part of it that the preset publishes its result as."""
    found: dict[str, tuple[str, str]] = {}
    for entry in stages.values():
        if entry["run"] == "publish":
            start = entry.get("prefix", "")
            for kind in RECORDS:
                found |= {stage: (start + kind, split) for split, stage in (entry.get(kind) or {}).items()}
            found |= {stage: (start + name, MODEL) for name, stage in (entry.get("models") or {}).items()}
    return found


def _open_part(owner: str, name: str, part: str) -> tuple[Publication, str]:
    """The publication, and the hash of its part."""
    publication = open_publication(Repository.of(owner, name))
    return publication, content_hash(publication.part(part))


def _compared(manifest: Mapping[str, Any], owner: str, name: str, part: str) -> str:
    """Whether a stage's result is identical to the published one."""
    try:
        publication, recorded = _open_part(owner, name, part)
    except InputError as error:
        return f"not compared: {error}"
    place = f"identical to {publication.repository} ({part})"
    if recorded == content_hash(manifest):
        return place
    weights = part == MODEL
    return f"NOT {place}; " + (
        "training on other hardware gives other weights" if weights else "`openprm verify --against` says where"
    )


def lay_out_run(run: Path, *, force: bool = False, **options: Any) -> Path:
    """The layout's folder, inside the run's. `options` are fields of `Publish` that replace the preset's.

    Each owner has a folder of its own: the preset's has the stage's name, any other STAGE-OWNER.

    Raises InputError where the folder is no run of a preset with a publish stage, or the run is not finished.
    """
    preset = run / PRESET
    if not preset.is_file():
        raise InputError(f"{run} has no {PRESET}: it is not a folder of `openprm run`")
    stages: Mapping[str, Any] = load_preset(str(preset))["stages"]
    name = next((name for name, entry in stages.items() if entry["run"] == "publish"), None)
    if name is None:
        raise InputError(f"{preset} has no stage that publishes; say what to publish by options")
    for stage in stages_of(stages, name):
        if not is_folder(run / stage):
            raise InputError(f"{run / stage} is missing or not finished: run `openprm run` to its end first")
    chosen = replace(stage_of(stages, name, run), **{key: value for key, value in options.items() if value})
    assert isinstance(chosen, Publish)
    own = chosen.owner == stages[name].get("owner", OWNER)
    out = run / (name if own else f"{name}-{chosen.owner}")
    chosen.run(out, force=force)
    return out


def check_published(folder: str | Path, owner: str) -> str:
    """What a fresh process, which imports nothing of this package, prints of the repositories in `folder`.

    Raises InputError where one does not load.
    """
    script = str(files("openprm.push").joinpath("load_check.py"))
    with tempfile.TemporaryDirectory() as home, without_pattern(folder) as place:
        # caches of the user's own would be asked before those below HF_HOME
        environment = {
            name: value for name, value in os.environ.items() if not re.fullmatch("(HF|TRANSFORMERS)_.*CACHE", name)
        }
        environment |= {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        environment |= {"PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, script, owner]
        done = subprocess.run(command, cwd=place, capture_output=True, encoding="utf-8", env=environment)
    if done.returncode:
        raise InputError(f"{folder}: a fresh process cannot load what was published:\n{done.stderr}")
    return done.stdout
