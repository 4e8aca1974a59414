"""Read a preset: a YAML file whose stages are made one after the other, each in a folder of its own.

    stages:
      samples: {run: sample, prompts: prompts, model: policy, n: 16}

`run` names a kind of stage (see `openprm.runs.declaration`); an input that is the name of an earlier stage is that
stage's folder, any other a path that exists or a Hub id, OWNER/NAME; the rest are the stage's parameters. Settings and
seeds: see `openprm.presets.settings`. With `like: NAME` a preset says only what differs from another: see
`openprm.presets.like`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from .. import stages as _stages  # noqa: F401 (declares the stages, as the two below)
from ..errors import InputError
from ..hub_id import HubId
from ..push import publish  # noqa: F401
from ..runs.declaration import STAGES, Stage, input_names, make_stage, stage_kind
from . import toy_stages  # noqa: F401
from .like import merged
from .settings import fill_in, repeat_by_seed


def load_preset(name: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A preset by name, or from a YAML file, with these `settings` (see `fill_in`) and a stage for each seed.

    Raises InputError where it cannot be read, or an input is neither an earlier stage nor anything there is.
    """
    preset = _read(name)
    if (base := preset.pop("like", None)) is not None:
        preset = merged(_read(str(base)), preset)
    for stage, entry in preset["stages"].items():
        if not isinstance(stage, str) or not re.fullmatch(r"\w[\w.-]*", stage):
            raise InputError(f"{name}: a stage cannot be called {stage!r}, since its folder is; use letters and -")
        if not isinstance(entry, dict) or "run" not in entry:
            raise InputError(f"{name}: stage {stage!r} needs `run`, one of {', '.join(STAGES)}")
        stage_kind(entry["run"], f"{name}: stage {stage!r}")
    stages = repeat_by_seed(fill_in(preset["stages"], preset.pop("settings", None) or {}, settings or {}))
    preset["stages"] = stages
    earlier: list[str] = []
    for stage, entry in stages.items():
        make_stage(entry["run"], _parameters(entry), f"{name}: stage {stage!r}")  # raises for what does not fit
        for key, value in _references(entry):
            if value not in earlier and not _exists(value):
                raise InputError(
                    f"{name}: stage {stage!r} takes {value!r} for its {key}: that is no stage before it "
                    f"({', '.join(earlier) or 'it is the first'}), no path that exists, and no Hub id OWNER/NAME"
                )
        earlier.append(stage)
    return preset


def _read(name: str) -> dict[str, Any]:
    path = Path(name)
    source = path if path.suffix in (".yaml", ".yml") else files("openprm.presets").joinpath(f"{name}.yaml")
    try:
        preset = yaml.safe_load(source.read_text("utf-8"))
    except FileNotFoundError:
        known = sorted(item.name[:-5] for item in files("openprm.presets").iterdir() if item.name.endswith(".yaml"))
        raise InputError(f"no preset {name!r}; there are {', '.join(known)}, or give a .yaml file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(preset, dict) or not isinstance(preset.get("stages"), dict):
        raise InputError(f"{name}: a preset has a mapping `stages`, of stages by name")
    return preset


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


def _references(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The inputs that a preset's entry names, by key."""
    for key in input_names(STAGES[entry["run"]]):
        value = entry.get(key)
        for one in value.values() if isinstance(value, dict) else [] if value is None else [value]:
            yield key, one


def _exists(value: Any) -> bool:
    """Whether an input is there, or may be on the Hub, which is asked when the stage runs."""
    return isinstance(value, str) and (Path(value).exists() or ("/" in value and HubId.parse(value) is not None))


def _parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "run"}
