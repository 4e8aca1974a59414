"""Builder: process and outcome pairs, such as `Pairs(trees="openprm/trees", min_gap="0.2")`."""

from __future__ import annotations

from openprm.builders.stage import StageBuilder

from openprm.schema import Pair
from openprm.stages.pairs import Pairs as PairsStage


class Pairs(StageBuilder):
    """Pairs in the unified format [Q, C, Pc, Pr]."""

    STAGE = PairsStage
    RECORD = Pair
