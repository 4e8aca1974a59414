"""Run a preset: a YAML file whose stages are made one after the other, each in a folder of its own.

    stages:
      samples: {run: sample, prompts: prompts, model: policy, n: 16}

`run` names a kind of stage (see `openprm.runs.declaration`); an input that is the name of an earlier stage is that
stage's folder, any other a path that exists or a Hub id, OWNER/NAME; the rest are the stage's parameters. A stage
whose inputs and parameters have not changed is skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from .. import stages as _stages  # noqa: F401 (declares the stages, as the two below)
from ..errors import InputError
from ..hub.publication import Publication, restore
from ..hub_id import HubId
from ..push import publish  # noqa: F401
from ..runs.declaration import STAGES, Stage, input_names, make_stage
from ..runs.manifest import write_whole
from . import toy_stages  # noqa: F401
from .resume_from_hub import before_start, compare_published

#: A run's folder holds its preset under this name.
PRESET = "preset.yaml"


def load_preset(name: str) -> dict[str, Any]:
    """A preset by name, or from a YAML file.

    Raises InputError where it cannot be read, or an input is neither an earlier stage nor anything there is.
    """
    path = Path(name)
    source = path if path.suffix in (".yaml", ".yml") else files("openprm.presets").joinpath(f"{name}.yaml")
    try:
        preset = yaml.safe_load(source.read_text("utf-8"))
    except FileNotFoundError:
        known = sorted(item.name[:-5] for item in files("openprm.presets").iterdir() if item.name.endswith(".yaml"))
        raise InputError(f"no preset {name!r}; there are {', '.join(known)}, or give a .yaml file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not YAML: {error}") from error
    if not isinstance(preset, dict) or not isinstance(preset.get("stages"), dict):
        raise InputError(f"{name}: a preset has a mapping `stages`, of stages by name")
    earlier: list[str] = []
    for stage, entry in preset["stages"].items():
        if not isinstance(entry, dict) or "run" not in entry:
            raise InputError(f"{name}: stage {stage!r} needs `run`, one of {', '.join(STAGES)}")
        make_stage(entry["run"], _parameters(entry), f"{name}: stage {stage!r}")  # raises for what does not fit
        for key, value in _references(entry):
            if value not in earlier and not _exists(value):
                raise InputError(
                    f"{name}: stage {stage!r} takes {value!r} for its {key}: that is no stage before it "
                    f"({', '.join(earlier) or 'it is the first'}), no path that exists, and no Hub id OWNER/NAME"
                )
        earlier.append(stage)
    return preset


def _references(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The inputs that a preset's entry names, by key."""
    for key in input_names(STAGES[entry["run"]]):
        value = entry.get(key)
        for one in value.values() if isinstance(value, dict) else [] if value is None else [value]:
            yield key, one


def _exists(value: Any) -> bool:
    """Whether an input is there, or may be on the Hub, which is asked when the stage runs."""
    return isinstance(value, str) and (Path(value).exists() or ("/" in value and HubId.parse(value) is not None))


def run_preset(
    preset: Mapping[str, Any],
    out: str | Path,
    *,
    until: str | None = None,
    start: str | None = None,
    published: str | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Makes the stages of a preset in folders below `out`; returns their manifests by name.

    until: a stage's name or kind; the run ends after it (the last such stage). start: a stage's name or kind; the run
    starts at it (the first such stage), and what it needs from earlier stages is restored from what an owner
    `published` (`OWNER[@REVISION]` on the Hub, or a local folder of repositories); only what the preset does not
    publish is made. Then each published stage that was made is compared with what is published.

    Raises InputError before anything is made where a stage is unknown or what is needed is not published.
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
        restored, unpublished = before_start(stages, chosen, published, lambda name: stages_of(stages, name))
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / PRESET, yaml.safe_dump(dict(preset), sort_keys=False, allow_unicode=True))
    manifests: dict[str, dict[str, Any]] = {}
    for name, (publication, part) in restored.items():
        say(f"{name}: from {publication.repository} ({part})")
        manifests[name] = restore(publication, part, out / name)
    for name in unpublished:
        say(f"{name}: not published, so it is made here")
    for name in [*unpublished, *chosen]:
        started = time.monotonic()
        say(f"{name} ...")
        manifests[name] = stage_of(stages, name, out).run(out / name, replace_finished=True)
        say(f"{name}: {out / name} ({time.monotonic() - started:.1f} s)")
    if published is not None:
        made = {name: manifests[name] for name in [*unpublished, *chosen]}
        for name, result in compare_published(made, stages, published).items():
            say(f"{name}: {result}")
    return manifests


def _named(stages: Mapping[str, Any], text: str) -> list[str]:
    """The stages of this name or kind."""
    found = [name for name, entry in stages.items() if text in (name, entry["run"])]
    if not found:
        kinds = dict.fromkeys(entry["run"] for entry in stages.values())
        raise InputError(f"the preset has no stage {text!r}; its kinds are {', '.join(kinds)}")
    return found


def stage_of(stages: Mapping[str, Any], name: str, out: Path) -> Stage:
    """A stage of a run below `out`: with folders in place of the stages that it takes as inputs."""
    kind, values = stages[name]["run"], _parameters(stages[name])
    folders = {earlier: str(out / earlier) for earlier in stages_of(stages, name)}
    for key in values.keys() & {*input_names(STAGES[kind])}:
        value = values[key]
        is_mapping = isinstance(value, dict)
        values[key] = (
            {role: folders.get(one, one) for role, one in value.items()} if is_mapping else folders.get(value, value)
        )
    return make_stage(kind, values, f"stage {name!r}")


def stages_of(stages: Mapping[str, Any], name: str) -> list[str]:
    """The stages that one takes as inputs: earlier ones. (What is called like a later one is a path.)"""
    names = [*stages]
    earlier = names[: names.index(name)]
    return [value for _, value in _references(stages[name]) if value in earlier]


def _parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "run"}


def check_published(folder: str | Path, owner: str) -> str:
    """What a fresh process, which imports nothing of this package, prints of the repositories in `folder`.

    Raises InputError where one does not load.
    """
    script = str(files("openprm.push").joinpath("load_check.py"))
    with tempfile.TemporaryDirectory() as home:
        # caches of the user's own would be asked before those below HF_HOME
        environment = {
            name: value for name, value in os.environ.items() if not re.fullmatch("(HF|TRANSFORMERS)_.*CACHE", name)
        }
        environment |= {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, script, owner]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise InputError(f"{folder}: a fresh process cannot load what was published:\n{done.stderr}")
    return done.stdout
