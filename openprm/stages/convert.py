"""The stage that converts a reward model with code of its own, for presets: `train --base` converts by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runs.declaration import Stage, execution, input_path
from ..runs.manifest import files_hash, resolve_model


@dataclass(frozen=True, kw_only=True)
class Convert(Stage, kind="convert"):
    """Convert an InternLM2 reward model into a plain checkpoint, which every engine loads without remote code."""

    model: str = input_path("InternLM2 reward model: a folder or a Hub id.", argument=True)
    revision: str | None = execution("Its branch, tag or commit on the Hub.", None)

    def inputs(self) -> dict[str, str]:
        revision = resolve_model(self.model, self.revision)
        return {"model": f"{self.model}@{revision}" if revision else self.model}

    def work(self, folder: Path) -> Mapping[str, Any]:
        from ..models.internlm2 import convert_internlm2

        convert_internlm2(self.model, folder, revision=resolve_model(self.model, self.revision))
        return {"files_hash": files_hash(folder), "counts": {}}
