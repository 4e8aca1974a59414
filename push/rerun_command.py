r"""The command lines that make a published artifact again from the published ones before it, as its manifest has it.

A command line is given only where it says everything that the manifest records; else there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from openprm.errors import InputError
from openprm.runs.command_line import rerun_command
from openprm.runs.declaration import make_stage, stage_from_manifest

from .inputs import Input

Manifest = Mapping[str, Any]


def dataset_command(kind: str, split: str, manifest: Manifest, source: Input) -> str | None:
    """The command that makes a split of candidates (their rewards), trees or pairs again of `source`; None where that
    is not published beside it, or its stage cannot be run again.
    """
    if source.repository is None or source.part is None or manifest["stage"] not in ("reward", "trees", "pairs"):
        return None
    role = "trees" if kind == "pairs" else "candidates"
    try:
        stage = stage_from_manifest(manifest, {role: source.repository})
    except InputError:  # a judge's servers and a user's file are not published
        return None
    return rerun_command(replace(stage, split=source.part), f"rebuilt/{kind}-{split}")


def training_command(name: str, pairs: Sequence[str], base: str, parameters: Manifest) -> str | None:
    """The command that trains the model again, on the train splits of `pairs`."""
    named = {f"pairs{index or ''}": path for index, path in enumerate(pairs)}
    stage = make_stage("train", {**parameters, "pairs": named, "base": base}, "its manifest")
    return rerun_command(stage, f"rebuilt/{name}")
