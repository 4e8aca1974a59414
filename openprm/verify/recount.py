"""Count anew what the stages that write candidates counted, from the rows alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any


class CandidateCounts:
    """Counts of candidates, row by row. What the stage saw and did not keep (rejected, skipped) is not among them."""

    def __init__(self) -> None:
        self.prompts: set[str] = set()
        self.marks: Counter[str] = Counter()
        self.tokens = 0
        self.rewards: dict[str, list[float]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        self.prompts.add(row["prompt_id"])
        self.marks.update(row["marks"])
        self.tokens += row["n_tokens"] or 0
        for reward in row["rewards"]:
            self.rewards.setdefault(reward["name"], []).append(reward["value"])

    def wrong(self, manifest: Mapping[str, Any]) -> str | None:
        """The first count in a stage's manifest that is not so, in words."""
        stage, recorded = manifest["stage"], manifest["counts"]
        counts: dict[str, Any] = {}
        if stage == "candidates":
            counts = {"prompts": len(self.prompts), "marks": dict(self.marks)}
        elif stage == "sampling":
            counts = {"tokens": self.tokens, "marks": dict(self.marks)}
        elif stage == "rewards":
            values = self.rewards.get(manifest["parameters"]["name"], [])
            mean = round(math.fsum(values) / len(values), 4) if values else None
            counts = {"rewarded": len(values), "mean_reward": mean, "marks": dict(self.marks)}
        for name, value in counts.items():
            if recorded[name] != value:
                return f"{name} is {value}, not {recorded[name]}, as its manifest says"
        return None
