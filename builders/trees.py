"""Builder: preference trees, such as `Trees(candidates="answers.jsonl", separator="sentence")`."""

from __future__ import annotations

from openprm.builders.stage import StageBuilder

from openprm.schema import Tree
from openprm.stages.trees import Trees as TreesStage


class Trees(StageBuilder):
    """One tree per prompt."""

    STAGE = TreesStage
    RECORD = Tree
