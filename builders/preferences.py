"""Builder: outcome pairs of a declared dataset, by config name, or of any preference dataset.

Preferences(config_name="helpsteer2")
Preferences(preferences="preferences.jsonl", chosen_column="good", rejected_column="bad")
"""

from __future__ import annotations

from openprm.builders.stage import StageBuilder

from openprm.data.paper_datasets import PAIR_SOURCES
from openprm.schema import Pair
from openprm.stages.pairs import Preferences as PreferencesStage


class Preferences(StageBuilder):
    """Outcome pairs in the unified format [Q, C, Pc, Pr]."""

    STAGE = PreferencesStage
    RECORD = Pair
    DECLARED = PAIR_SOURCES
