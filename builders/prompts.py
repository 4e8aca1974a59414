"""Builder: prompts of a declared source, by config name, or of a file of your own.

Prompts(config_name="scienceqa")
Prompts(source=PromptFile("questions.csv"), limit=1000)
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from openprm.builders.stage import StageBuilder, StageConfig

from openprm.data.paper_datasets import PROMPT_SOURCES
from openprm.data.prompts import DeclaredPrompts, PromptFile
from openprm.schema import Prompt
from openprm.stages.prompts import make_prompts


@dataclass
class PromptsConfig(StageConfig):
    """`source`: where the prompts come from; `limit`, `seed`: how many of them, drawn at random (all by default)."""

    source: PromptFile | DeclaredPrompts | None = None
    limit: int | None = None
    seed: int = 0
    strict: bool = False

    def inputs(self) -> dict[str, str]:
        return self._source().inputs()

    def make(self, out: Path) -> dict[str, Any]:
        return make_prompts(self._source(), out, limit=self.limit, seed=self.seed, strict=self.strict)

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        # the commit of a declared source is no input that could be hashed
        parameters = json.dumps(self._source().parameters(), sort_keys=True)
        digest = hashlib.sha256(parameters.encode()).hexdigest()
        return f"{super().create_config_id(config_kwargs, custom_features)}-{digest[:16]}"

    def _source(self) -> PromptFile | DeclaredPrompts:
        if self.source is None:
            raise ValueError("say where the prompts are: Prompts(source=PromptFile(path))")
        return self.source


_VERSION = datasets.Version("1.0.0")


class Prompts(StageBuilder):
    """One row per question, with its reference where there is one."""

    VERSION = _VERSION
    BUILDER_CONFIG_CLASS = PromptsConfig
    BUILDER_CONFIGS = [  # noqa: RUF012 (as in the base class)
        PromptsConfig(name=name, version=_VERSION, source=DeclaredPrompts(name)) for name in PROMPT_SOURCES
    ]
    RECORD = Prompt
