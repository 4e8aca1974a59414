"""Lay out a finished run of a preset for any owner, as the preset's own publish stage says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..push.publish import OWNER, Publish
from ..runs.folder import is_folder
from .run import PRESET, load_preset, stage_of, stages_of


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
