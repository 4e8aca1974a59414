"""Builder: preference trees from candidates.

Trees(source=CandidateSource("answers.jsonl"), parameters=MergeParameters(separator="sentence"))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
from openprm.builders.candidates import CandidatesConfig
from openprm.builders.stage import StageBuilder

from openprm.schema import Tree
from openprm.stages.datasets import make_trees
from openprm.trees.tree import MergeParameters


@dataclass
class TreesConfig(CandidatesConfig):
    """`source`: the candidates; `parameters`: how to merge; `separators`: others for some sources, by name."""

    parameters: MergeParameters = field(default_factory=MergeParameters)
    separators: Mapping[str, str] | None = None
    num_proc: int = 1

    def make(self, out: Path) -> dict[str, Any]:
        return make_trees(
            self._source(),
            out,
            self.parameters,
            separators=self.separators,
            num_proc=self.num_proc,
            strict=self.strict,
        )


class Trees(StageBuilder):
    """One tree per prompt."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = TreesConfig
    RECORD = Tree
