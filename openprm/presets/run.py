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
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from .. import stages as _stages  # noqa: F401 (declares the stages, as the two below)
from ..errors import InputError
from ..hub.publication import restore
from ..push import publish  # noqa: F401
from ..runs.declaration import STAGES, Stage, input_names, make_stage
from ..runs.manifest import write_whole
from . import toy_stages  # noqa: F401
from .resume_from_hub import compare_published, plan_resume

#: A run's folder holds its preset under this name.
PRESET = "preset.yaml"

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")  # no path to somewhere else: not ../x, ./x or /x


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
        make_stage(entry["run"], parameters_of(entry), f"{name}: stage {stage!r}")  # raises for what does not fit
        for key in input_names(STAGES[entry["run"]]):
            for value in _references(entry.get(key)):
                if value not in earlier and not _exists(value):
                    raise InputError(
                        f"{name}: stage {stage!r} takes {value!r} for its {key}: that is no stage before it "
                        f"({', '.join(earlier) or 'it is the first'}), no path that exists, and no Hub id OWNER/NAME"
                    )
        earlier.append(stage)
    return preset


def _references(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return [] if value is None else [value]


def _exists(value: Any) -> bool:
    """Whether an input is there, or may be on the Hub, which is asked when the stage runs."""
    return isinstance(value, str) and (Path(value).exists() or _HUB_ID.fullmatch(value) is not None)


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
    stages = preset["stages"]
    end = _last(stages, until)
    if (start is None) != (published is None):
        raise InputError("a run starts in the middle from what is published: give both --start and --from")
    resumed = None
    if start is not None and published is not None:
        resumed = plan_resume(stages, start, end, published, lambda name: stages_of(stages, name))
    Path(out).mkdir(parents=True, exist_ok=True)
    write_whole(Path(out) / PRESET, yaml.safe_dump(dict(preset), sort_keys=False, allow_unicode=True))
    manifests: dict[str, dict[str, Any]] = {}
    if resumed is not None:
        for name, (publication, part) in resumed.restored.items():
            say(f"{name}: from {publication.repository} ({part})")
            manifests[name] = restore(publication, part, Path(out) / name)
        for name in resumed.unpublished:
            say(f"{name}: not published, so it is made here")
    names = [*stages][: [*stages].index(end) + 1] if resumed is None else resumed.made
    for name in names:
        started = time.monotonic()
        say(f"{name} ...")
        manifests[name] = stage_of(stages, name, Path(out)).run(Path(out) / name, replace_finished=True)
        say(f"{name}: {Path(out) / name} ({time.monotonic() - started:.1f} s)")
    if resumed is not None and published is not None:
        made = {name: manifests[name] for name in names}
        for name, result in compare_published(made, stages, published).items():
            say(f"{name}: {result}")
    return manifests


def stage_of(stages: Mapping[str, Any], name: str, out: Path) -> Stage:
    """A stage of a run below `out`: with folders in place of the stages that it takes as inputs."""
    kind = stages[name]["run"]
    folders = {earlier: out / earlier for earlier in _before(stages, name)}
    inputs = input_names(STAGES[kind])
    values = {
        key: _resolve(value, folders) if key in inputs else value for key, value in parameters_of(stages[name]).items()
    }
    return make_stage(kind, values, f"stage {name!r}")


def parameters_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What a preset's entry gives its stage."""
    return {key: value for key, value in entry.items() if key != "run"}


def _last(stages: Mapping[str, Any], until: str | None) -> str:
    last = [name for name, entry in stages.items() if until in (None, name, entry["run"])]
    if not last:
        kinds = dict.fromkeys(entry["run"] for entry in stages.values())
        raise InputError(f"the preset has no stage {until!r}; its kinds are {', '.join(kinds)}")
    return last[-1]


def stages_of(stages: Mapping[str, Any], name: str) -> list[str]:
    """The stages that one takes as inputs."""
    entry = stages[name]
    values = [value for key in input_names(STAGES[entry["run"]]) for value in _references(entry.get(key))]
    return [value for value in values if value in _before(stages, name)]


def _before(stages: Mapping[str, Any], name: str) -> list[str]:
    """The stages that a stage may name; what is called like a later one is a path."""
    names = [*stages]
    return names[: names.index(name)]


def _resolve(value: Any, folders: Mapping[str, Path]) -> Any:
    """An input of a stage, or several by name, with the folder of each stage in its place."""
    if isinstance(value, dict):
        return {key: _resolve(item, folders) for key, item in value.items()}
    return str(folders.get(value, value))


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
