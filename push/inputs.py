"""What a published artifact was made of: the repositories that hold it, as far as any do, and otherwise its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openprm.hub_id import HubId
from openprm.runs.dataset_card import shown

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Input:
    """An input of a stage. As text it is what a card says of it.

    name: as the stage recorded it. repository, part: where the same owner publishes it; None where nowhere.
    """

    name: str
    repository: str | None = None
    part: str | None = None

    @property
    def hub(self) -> str | None:
        """OWNER/NAME of the repository that holds it; None where there is none."""
        # a local input is recorded by the last part of its path
        named = HubId.parse(self.name) if "/" in self.name else None
        return self.repository or (named.repository if named else None)

    @property
    def train(self) -> str | None:
        """What the stages, which read the split `train`, take for it; None where they would read something else."""
        if self.repository is not None:
            return self.repository if self.part == "train" else None
        return self.name if self.hub else None

    def __str__(self) -> str:
        if self.repository is not None:
            return f"split `{self.part}` of `{self.repository}`"
        return shown(self.name) if self.hub else f"{shown(self.name)} (not published)"


def inputs(publication: Manifest, part: str) -> dict[str, Input]:
    """The inputs of the stage that made a part, by role."""
    published = publication["repositories"].get(part, {})
    recorded = publication["parts"][part]["inputs"]
    return {role: Input(made["name"], **published.get(role, {})) for role, made in recorded.items()}


def measured(evaluation: Manifest) -> Input:
    """The candidates that an evaluation measured."""
    return Input(evaluation["inputs"]["candidates"]["name"], **(evaluation["dataset"] or {}))
