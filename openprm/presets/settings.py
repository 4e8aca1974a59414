"""What a preset leaves open: settings, parameters that are changed, stages that are made once for each seed. Pure.

    settings: {base: null, steps: 200, seeds: 3}    # null: what the stage has by default
    stages:
      orm: {run: train, base: $base, max_steps: $steps, seeds: $seeds, ...}
      scores-orm: {run: score, model: orm, ...}
      evaluation: {run: choices, scores: {orm: scores-orm}, ...}

`seeds`, a number or a list, makes orm-0, orm-1 and orm-2, each with its `seed`. What takes such a stage is made for
each as well (scores-orm-0, ...); a mapping takes them all, and an evaluation measures them as one kind, `orm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from ..errors import InputError
from ..runs.command_line import from_text
from ..runs.declaration import STAGES, input_names, nearest, options_of


def read_changes(texts: list[str]) -> dict[str, str]:
    """NAME=VALUE texts, by name. Raises InputError for others, and a name that comes twice."""
    found = dict(text.split("=", 1) for text in texts if "=" in text)
    if len(found) < len(texts):
        raise InputError(f"--set takes NAME=VALUE or STAGE.PARAMETER=VALUE, each name once; not {' '.join(texts)}")
    return found


def fill_in(stages: Mapping[str, Any], settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The stages with `$name` replaced by the setting, and with the parameters that `given` changes.

    given: a setting by NAME or a stage's parameter by STAGE.PARAMETER; a text is read as YAML, and null leaves the
    parameter out. Raises InputError for a setting, stage or parameter that there is not.
    """
    values, changes = dict(settings), {}
    for name, value in given.items():
        stage, dot, key = name.rpartition(".")
        if dot and stage in stages:
            changes[stage, key] = value
        elif dot:
            raise InputError(f"the preset has no stage {stage!r}{nearest(stage, stages)}")
        elif name not in settings:
            raise InputError(f"the preset has no setting {name!r}{nearest(name, settings)}")
        else:
            values[name] = _read(value)
    filled = {name: _filled(name, entry, values) for name, entry in stages.items()}
    for (stage, key), value in changes.items():
        options = {field.name: (field, hint) for field, hint in options_of(STAGES[filled[stage]["run"]])}
        if key not in options:
            raise InputError(f"{filled[stage]['run']} has no parameter {key!r}{nearest(key, options)}")
        field, hint = options[key]
        if value in (None, "null") and hint is not str:  # as in YAML
            filled[stage].pop(key, None)
            continue
        as_text = isinstance(value, str) and hint in (str, str | None)
        filled[stage][key] = from_text(field, value) if as_text else _read(value)
    return filled


def repeat_by_seed(stages: Mapping[str, Any]) -> dict[str, Any]:
    """The stages with each one that has `seeds`, and each that takes such a one, in place of which it stands.

    Raises InputError where seeds are no numbers, or differ from those of what a stage takes.
    """
    made: dict[str, Any] = {}
    seeds: dict[str, list[int]] = {}
    for name, entry in stages.items():
        entry, kind = dict(entry), STAGES[entry["run"]]
        own = entry.pop("seeds", None)
        wanted = [] if own is None else [list(range(own)) if isinstance(own, int) else own]
        for key in input_names(kind):
            if isinstance(entry.get(key), dict):
                entry[key], kinds = _taken_together(entry[key], seeds)
                # the answers of searches are measured one by one
                if kinds and key != "answers" and any(field.name == "kinds" for field, _ in options_of(kind)):
                    entry["kinds"] = {**kinds, **entry.get("kinds", {})}
        repeated = [key for key in input_names(kind) if isinstance(entry.get(key), str) and entry[key] in seeds]
        wanted += [seeds[entry[key]] for key in repeated]
        if not wanted:
            made[name] = entry
            continue
        if not isinstance(wanted[0], list) or not wanted[0] or not all(isinstance(seed, int) for seed in wanted[0]):
            raise InputError(f"stage {name!r}: seeds are {own!r}; give a number of seeds, or a list of them")
        if any(one != wanted[0] for one in wanted):
            raise InputError(f"stage {name!r} takes stages of other seeds: {wanted}")
        seeds[name] = wanted[0]
        for seed in seeds[name]:
            taken = {key: f"{entry[key]}-{seed}" for key in repeated}
            made[f"{name}-{seed}"] = {**entry, **taken, **({} if own is None else {"seed": seed})}
    return made


def _taken_together(
    mapping: Mapping[str, Any], seeds: Mapping[str, list[int]]
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """A mapping of stages with all seeds of each in its place, and the names that each has got."""
    taken: dict[str, Any] = {}
    kinds: dict[str, list[str]] = {}
    for role, value in mapping.items():
        if isinstance(value, str) and value in seeds:
            of_role = {f"{role}-{seed}": f"{value}-{seed}" for seed in seeds[value]}
            taken |= of_role
            kinds[role] = [*of_role]
        else:
            taken[role] = value
    return taken, kinds


def _filled(name: str, entry: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's entry with the settings that it names; where one is null the key is left out."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: found for key, item in value.items() if (found := filled(item)) is not None}
        if isinstance(value, str) and value.startswith("$"):
            if value[1:] not in settings:
                raise InputError(f"stage {name!r} names {value}{nearest(value[1:], settings)}")
            return settings[value[1:]]
        return value

    return {key: found for key, value in entry.items() if (found := filled(value)) is not None}


def _read(value: Any) -> Any:
    return yaml.safe_load(value) if isinstance(value, str) else value
