"""Lay a finished run of a preset out for any owner, as the preset's own publish stage says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openprm.push.layout import OWNER, publish_locally

from openprm.errors import InputError
from openprm.presets.run import PRESET, arguments, load_preset, stages_of
from openprm.runs.folder import is_folder


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
    for stage in stages_of(stages, name):
        if not is_folder(run / stage):
            raise InputError(f"{run / stage} is not there, or not finished: run `openprm reproduce` to its end first")
    given = {key: value for key, value in options.items() if value}
    chosen = {"owner": OWNER, **arguments(stages, name, run), **given}
    own = chosen["owner"] == stages[name].get("owner", OWNER)
    out = run / (name if own else f"{name}-{chosen['owner']}")
    publish_locally(out, **chosen)
    return out
