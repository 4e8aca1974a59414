"""Builder: outcome pairs of a declared dataset, by config name, or of any preference dataset.

Preferences(config_name="helpsteer2")
Preferences(preferences="preferences.jsonl", chosen_column="good", rejected_column="bad")
"""

from __future__ import annotations

import datasets
from openprm.builders.stage import StageBuilder, config_of

from openprm.data.paper_datasets import PAIR_SOURCES
from openprm.schema import Pair
from openprm.stages.pairs import Preferences as PreferencesStage

_VERSION = datasets.Version("1.0.0")


class Preferences(StageBuilder):
    """Outcome pairs in the unified format [Q, C, Pc, Pr]."""

    VERSION = _VERSION
    BUILDER_CONFIG_CLASS = config_of(PreferencesStage)
    BUILDER_CONFIGS = [  # noqa: RUF012 (as in the base class)
        config_of(PreferencesStage)(name=name, version=_VERSION, declared=name) for name in PAIR_SOURCES
    ]
    RECORD = Pair
