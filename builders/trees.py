"""Builder: preference trees, such as `Trees(candidates="answers.jsonl", separator="sentence")`."""

from __future__ import annotations

import datasets
from openprm.builders.stage import StageBuilder, config_of

from openprm.schema import Tree
from openprm.stages.trees import Trees as TreesStage


class Trees(StageBuilder):
    """One tree per prompt."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = config_of(TreesStage)
    RECORD = Tree
