"""Builder: process and outcome pairs, such as `Pairs(trees="openprm/trees", min_gap="0.2")`."""

from __future__ import annotations

import datasets
from openprm.builders.stage import StageBuilder, config_of

from openprm.schema import Pair
from openprm.stages.pairs import Pairs as PairsStage


class Pairs(StageBuilder):
    """Pairs in the unified format [Q, C, Pc, Pr]."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = config_of(PairsStage)
    RECORD = Pair
