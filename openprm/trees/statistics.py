"""Counts of what a stage of trees or pairs made. They add up, so that each process can count its own."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..schema import Pair, Tree
from .similarity import numbers
from .tree import siblings

#: Process pairs per prompt that the paper kept (Table 4).
PAPER_PAIRS_PER_PROMPT = {"UltraFeedback": 1.17, "ScienceQA": 1.99, "MATH": 2.66}

_DEPTHS = 10  # shown in tables


@dataclass
class TreeStatistics:
    """What trees hold. `steps_at` and `nodes_at` are by depth, from 1."""

    trees: int = 0
    responses: int = 0
    one_step: int = 0
    lone: int = 0  # trees of a single response
    flat: int = 0  # trees of several responses with one and the same reward
    forks: int = 0
    fork_gap: float = 0.0  # sum over forks of the widest gap between siblings
    changed_numbers: int = 0
    rewards: float = 0.0
    lowest: float = math.inf
    highest: float = -math.inf
    steps_at: Counter[int] = field(default_factory=Counter)
    nodes_at: Counter[int] = field(default_factory=Counter)

    def add(self, tree: Tree) -> None:
        rewards = [response["reward"] for response in tree["responses"]]
        self.trees += 1
        self.responses += len(rewards)
        self.one_step += sum(len(response["steps"]) == 1 for response in tree["responses"])
        self.lone += len(rewards) == 1
        self.flat += len(rewards) > 1 and min(rewards) == max(rewards)
        self.rewards += math.fsum(rewards)
        self.lowest = min(self.lowest, *rewards)
        self.highest = max(self.highest, *rewards)
        for node in tree["nodes"][1:]:
            self.steps_at[node["depth"]] += len(node["members"])
            self.nodes_at[node["depth"]] += 1
            own = numbers(node["text"])
            for member in node["members"][1:]:
                text = tree["responses"][member["response"]]["steps"][member["step"]]
                self.changed_numbers += text != node["text"] and numbers(text) != own
        for nodes in siblings(tree):
            values = [node["value"] for node in nodes]
            self.forks += 1
            self.fork_gap += max(values) - min(values)

    def state(self) -> dict[str, Any]:
        """For another process; see `merge`."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    def merge(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if name in ("steps_at", "nodes_at"):
                getattr(self, name).update({int(depth): count for depth, count in value.items()})
            elif name in ("lowest", "highest"):
                setattr(self, name, (min if name == "lowest" else max)(getattr(self, name), value))
            else:
                setattr(self, name, getattr(self, name) + value)

    def summary(self) -> dict[str, Any]:
        """For the manifest and the printed summary. Shares are of 1."""
        steps, nodes = self.steps_at.total(), self.nodes_at.total()
        return {
            "prompts": self.trees,
            "responses": self.responses,
            "steps": steps,
            "nodes": nodes,
            "one_step_share": round(self.one_step / self.responses, 4),
            "merged_share": round(1 - nodes / steps, 4),
            "merged_share_by_depth": {
                str(depth): round(1 - self.nodes_at[depth] / self.steps_at[depth], 4)
                for depth in sorted(self.steps_at)[:_DEPTHS]
            },
            "merged_with_changed_numbers": self.changed_numbers,
            "forks": self.forks,
            "mean_fork_gap": round(self.fork_gap / self.forks, 4) if self.forks else 0.0,
            "mean_reward": round(self.rewards / self.responses, 4),
            "lowest_reward": self.lowest,
            "highest_reward": self.highest,
            "prompts_with_one_response": self.lone,
            "prompts_with_equal_rewards": self.flat,
        }


@dataclass
class PairStatistics:
    """What a pair stage took."""

    pairs: int = 0
    duplicates: int = 0
    contradictions: int = 0
    trees: int = 0
    widest_gap: float = 0.0
    gaps: float = 0.0
    levels: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    separators: set[str] = field(default_factory=set)  # where the trees' steps end
    _prompts: set[str] = field(default_factory=set)

    def add_tree(self, tree: Tree) -> None:
        self.trees += 1
        self.separators.add(tree["build"]["separator"])
        for nodes in siblings(tree):
            values = [node["value"] for node in nodes]
            self.widest_gap = max(self.widest_gap, max(values) - min(values))

    def add(self, pair: Pair) -> None:
        self.pairs += 1
        self.gaps += pair["gap"] or 0.0
        self.levels[pair["level"]] += 1
        self.sources[pair["source"]] += 1
        self._prompts.add(pair["prompt_id"])

    def summary(self) -> dict[str, Any]:
        """For the manifest and the printed summary."""
        result: dict[str, Any] = {
            "pairs": self.pairs,
            "levels": dict(self.levels),
            "sources": dict(self.sources),
            "prompts_with_pairs": len(self._prompts),
            "duplicates": self.duplicates,
            "contradictions": self.contradictions,
        }
        if self.trees:
            result["mean_gap"] = round(self.gaps / self.pairs, 4)
            result["prompts"] = self.trees
            result["separators"] = sorted(self.separators)
            result["process_pairs_per_prompt"] = round(self.levels["process"] / self.trees, 2)
        return result
