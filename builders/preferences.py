"""Builder: outcome pairs of a declared source, by config name, or of any preference dataset.

Preferences(config_name="helpsteer2")
Preferences(path="preferences.jsonl", columns=PreferenceColumns("prompt", "good", "bad"))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
from openprm.builders.stage import StageBuilder, StageConfig

from openprm.data.paper_datasets import PAIR_SOURCES
from openprm.data.preferences import PreferenceColumns
from openprm.data.prompts import source_inputs
from openprm.schema import Pair
from openprm.stages.datasets import make_preference_pairs
from openprm.stages.prompts import make_source_pairs


@dataclass
class PreferencesConfig(StageConfig):
    """`declared`: a source by name, which `path` gives a copy of; without, `path` is any preference dataset.

    `columns`, `split` and `source` say what is where in the latter (see `openprm.data.preferences`).
    """

    declared: str | None = None
    path: str | None = None
    columns: PreferenceColumns = field(default_factory=PreferenceColumns)
    split: str | None = None
    source: str | None = None
    strict: bool = False

    def inputs(self) -> dict[str, str]:
        return source_inputs(self.path) if self.declared else {"preferences": self._path()}

    def make(self, out: Path) -> dict[str, Any]:
        if self.declared:
            return make_source_pairs(self.declared, out, path=self.path, strict=self.strict)
        return make_preference_pairs(
            self._path(), out, self.columns, split=self.split, source=self.source, strict=self.strict
        )

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        # the commit of a declared source is no input that could be hashed
        commit = f"-{PAIR_SOURCES[self.declared].revision[:16]}" if self.declared else ""
        return super().create_config_id(config_kwargs, custom_features) + commit

    def _path(self) -> str:
        if not self.path:
            raise ValueError("say where the preferences are: Preferences(path=...)")
        return self.path


_VERSION = datasets.Version("1.0.0")


class Preferences(StageBuilder):
    """Outcome pairs in the unified format [Q, C, Pc, Pr]."""

    VERSION = _VERSION
    BUILDER_CONFIG_CLASS = PreferencesConfig
    BUILDER_CONFIGS = [  # noqa: RUF012 (as in the base class)
        PreferencesConfig(name=name, version=_VERSION, declared=name) for name in PAIR_SOURCES
    ]
    RECORD = Pair
