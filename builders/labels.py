"""Builder: labels of steps, such as `Labels(labels="openprm/trees", by="tree")`."""

from __future__ import annotations

from openprm.builders.stage import StageBuilder

from openprm.schema import StepLabels
from openprm.stages.label import Label


class Labels(StageBuilder):
    """One row a response."""

    STAGE = Label
    RECORD = StepLabels
