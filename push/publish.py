"""Lay a finished run of a preset out for any owner, as the preset's own publish stage says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openprm.push.layout import OWNER, publish_locally

from openprm.folder import is_folder
from openprm.rejections import InputError
from openprm.reproduce import PRESET, load_preset, resolve


def lay_out_run(run: Path, **options: Any) -> Path:
    """The layout's folder, below the run's. `options` are `publish_locally`'s and go before the preset's.

    Each owner has a folder of its own: that of the preset's is called as the stage, any other STAGE-OWNER.

    Raises InputError where the folder is no run of a preset with a publish stage, or the run is not finished.
    """
    preset = run / PRESET
    if not preset.is_file():
        raise InputError(f"{run} has no {PRESET}: it is not a folder of `openprm reproduce`")
    stages: Mapping[str, Any] = load_preset(str(preset))["stages"]
    name = next((name for name, entry in stages.items() if entry["run"] == "publish"), None)
    if name is None:
        raise InputError(f"{preset} has no stage that publishes; say what to publish by options")
    folders = {stage: run / stage for stage in stages}
    entry = {key: value for key, value in stages[name].items() if key != "run"}
    for folder in _inputs(entry, stages):
        if not is_folder(run / folder):
            raise InputError(f"{run / folder} is not there, or not finished: run `openprm reproduce` to its end first")
    datasets = {key: resolve(value, folders) for key, value in entry.items() if key in _FOLDERS}
    arguments = {"owner": OWNER, **entry, **datasets, **{key: value for key, value in options.items() if value}}
    own = arguments["owner"] == entry.get("owner", OWNER)
    out = run / (name if own else f"{name}-{arguments['owner']}")
    publish_locally(out, **arguments)
    return out


def _inputs(entry: Mapping[str, Any], stages: Mapping[str, Any]) -> list[str]:
    """The stages that the publishing one takes."""
    values = [entry[key] for key in _FOLDERS if key in entry]
    names = [name for value in values for name in (value.values() if isinstance(value, dict) else [value])]
    return [name for name in names if name in stages]


_FOLDERS = ("candidates", "trees", "pairs", "models", "evaluation")
