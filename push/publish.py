"""The stage that lays out what a run made as the repositories of one owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openprm.push.layout import OWNER, publish_locally

from openprm.runs.declaration import Stage, input_path, parameter


@dataclass(frozen=True, kw_only=True)
class Publish(Stage, kind="publish"):
    """Publish data, models and cards on the Hub. The same command finishes what was broken off."""

    candidates: dict[str, str] = input_path("SPLIT=FOLDER of candidates; may be repeated.", {})
    trees: dict[str, str] = input_path("SPLIT=FOLDER of trees; may be repeated.", {})
    pairs: dict[str, str] = input_path("SPLIT=FOLDER of pairs; may be repeated.", {})
    models: dict[str, str] = input_path("NAME=FOLDER of a model; may be repeated.", {}, flag="--model")
    evaluation: str | None = input_path("Folder of `openprm evaluate`.", None)
    demo: str | None = parameter("The model that a demo Space is to show.", None)
    owner: str = parameter("User or organization that the repositories belong to.", OWNER)
    license: str | None = parameter("License of what is published.", None)
    source_licenses: dict[str, str] = parameter(
        "NAME=LICENSE of a source that does not say; may be repeated.", {}, flag="--source-license"
    )

    def run(self, out: str | Path, *, force: bool = False, replace_finished: bool = False) -> dict[str, Any]:
        return publish_locally(
            out,
            candidates=self.candidates,
            trees=self.trees,
            pairs=self.pairs,
            models=self.models,
            evaluation=self.evaluation,
            demo=self.demo,
            owner=self.owner,
            license=self.license,
            source_licenses=self.source_licenses,
            force=force,
        )

    def work(self, folder: Path) -> Mapping[str, Any]:
        raise NotImplementedError
