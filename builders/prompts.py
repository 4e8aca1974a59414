"""Builder: prompts of a declared dataset, by config name, or of a file.

Prompts(config_name="scienceqa")
Prompts(prompts="questions.csv", limit=1000)
"""

from __future__ import annotations

import datasets
from openprm.builders.stage import StageBuilder, config_of

from openprm.data.paper_datasets import PROMPT_SOURCES
from openprm.schema import Prompt
from openprm.stages.prompts import Prompts as PromptsStage

_VERSION = datasets.Version("1.0.0")


class Prompts(StageBuilder):
    """One row per question, with its reference where there is one."""

    VERSION = _VERSION
    BUILDER_CONFIG_CLASS = config_of(PromptsStage)
    BUILDER_CONFIGS = [  # noqa: RUF012 (as in the base class)
        config_of(PromptsStage)(name=name, version=_VERSION, declared=name) for name in PROMPT_SOURCES
    ]
    RECORD = Prompt
