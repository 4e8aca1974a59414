"""Builder: prompts of a declared dataset, by config name, or of a file.

Prompts(config_name="scienceqa")
Prompts(prompts="questions.csv", limit=1000)
"""

from __future__ import annotations

from openprm.builders.stage import StageBuilder

from openprm.data.benchmark_prompts import DECLARED_PROMPTS
from openprm.schema import Prompt
from openprm.stages.prompts import Prompts as PromptsStage


class Prompts(StageBuilder):
    """One row per question, with its reference where there is one."""

    STAGE = PromptsStage
    RECORD = Prompt
    DECLARED = DECLARED_PROMPTS
