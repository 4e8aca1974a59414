"""Builder: process and outcome pairs from trees.

Pairs(trees="openprm/trees", min_gap=MinGap(0.2))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
from openprm.builders.stage import StageBuilder, StageConfig

from openprm.schema import Pair
from openprm.stages.datasets import make_pairs
from openprm.trees.pairs import MinGap, PairParameters


@dataclass
class PairsConfig(StageConfig):
    """`trees`: a folder of trees or a published dataset's id; `min_gap`, `parameters`: which pairs to take."""

    trees: str = ""
    min_gap: MinGap = field(default_factory=lambda: MinGap(0.2))
    parameters: PairParameters = field(default_factory=PairParameters)

    def inputs(self) -> dict[str, str]:
        if not self.trees:
            raise ValueError('say where the trees are: Pairs(trees="path or id")')
        return {"trees": self.trees}

    def make(self, out: Path) -> dict[str, Any]:
        return make_pairs(self.trees, out, self.min_gap, self.parameters)


class Pairs(StageBuilder):
    """Pairs in the unified format [Q, C, Pc, Pr]."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = PairsConfig
    RECORD = Pair
