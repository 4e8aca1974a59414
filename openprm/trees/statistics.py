"""Counts of trees and pairs, for manifests. Those of trees add up, so that each process can count its own."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..schema import Pair, Support, Tree
from .distinctions import numbers
from .tree import sibling_gaps

#: Process pairs per prompt that the paper kept (Table 4).
PAPER_PAIRS_PER_PROMPT = {"UltraFeedback": 1.17, "ScienceQA": 1.99, "MATH": 2.66}

_DEPTHS = 10  # shown in tables
_SUPPORTS = 2, 4  # with fewer, process pairs are outcome labels in disguise


@dataclass
class TreeStatistics:
    """What trees hold. `steps_at` and `nodes_at` are by depth, from "1"."""

    counts: Counter[str] = field(default_factory=Counter)
    steps_at: Counter[str] = field(default_factory=Counter)
    nodes_at: Counter[str] = field(default_factory=Counter)
    rewards: float = 0.0  # sum over responses
    fork_gaps: float = 0.0  # sum over nodes with several children of the largest difference between these
    lowest: float = math.inf
    highest: float = -math.inf

    def add(self, tree: Tree) -> None:
        rewards = [response["reward"] for response in tree["responses"]]
        gaps = sibling_gaps(tree)
        self.rewards += math.fsum(rewards)
        self.fork_gaps += sum(gaps)
        self.lowest, self.highest = min(self.lowest, *rewards), max(self.highest, *rewards)
        changed_numbers, ends, mixed = 0, 0, 0
        for node in tree["nodes"][1:]:
            self.steps_at[str(node["depth"])] += len(node["members"])
            self.nodes_at[str(node["depth"])] += 1
            inside = [tree["responses"][member["response"]] for member in node["members"]]
            ended = [each["reward"] for each in inside if len(each["steps"]) == node["depth"]]
            ends += len(ended) > 1
            mixed += {0.0, 1.0} <= {*ended}
            own = numbers(node["text"])
            for member in node["members"][1:]:
                text = tree["responses"][member["response"]]["steps"][member["step"]]
                changed_numbers += text != node["text"] and numbers(text) != own
        self.counts.update(
            trees=1,
            responses=len(rewards),
            one_step=sum(len(response["steps"]) == 1 for response in tree["responses"]),
            one_response=int(len(rewards) == 1),
            equal_rewards=int(len(rewards) > 1 and min(rewards) == max(rewards)),
            forks=len(gaps),
            changed_numbers=changed_numbers,
            ends=ends,
            mixed=mixed,
        )

    def state(self) -> dict[str, Any]:
        """The statistics as JSON values, for `merge` in another process."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Adds the statistics of other trees."""
        for name in ("counts", "steps_at", "nodes_at"):
            getattr(self, name).update(state[name])
        self.rewards += state["rewards"]
        self.fork_gaps += state["fork_gaps"]
        self.lowest, self.highest = min(self.lowest, state["lowest"]), max(self.highest, state["highest"])

    def summary(self) -> dict[str, Any]:
        """For the manifest and the printed summary."""
        counts, steps, nodes = self.counts, self.steps_at.total(), self.nodes_at.total()
        depths = sorted(self.steps_at, key=int)[:_DEPTHS]
        return {
            "prompts": counts["trees"],
            "responses": counts["responses"],
            "steps": steps,
            "nodes": nodes,
            "one_step_share": round(counts["one_step"] / counts["responses"], 4),
            "merged_share": round(1 - nodes / steps, 4),
            "merged_share_by_depth": {at: round(1 - self.nodes_at[at] / self.steps_at[at], 4) for at in depths},
            "merged_with_changed_numbers": counts["changed_numbers"],
            "steps_longer_than_the_embedder_reads": counts["cut"],
            "end_nodes_of_several_responses": counts["ends"],
            "end_nodes_with_right_and_wrong": counts["mixed"],
            "forks": counts["forks"],
            "mean_fork_gap": round(self.fork_gaps / counts["forks"], 4) if counts["forks"] else 0.0,
            "mean_reward": round(self.rewards / counts["responses"], 4),
            "lowest_reward": self.lowest,
            "highest_reward": self.highest,
            "prompts_with_one_response": counts["one_response"],
            "prompts_with_equal_rewards": counts["equal_rewards"],
        }


@dataclass
class PairStatistics:
    """The pairs of a stage, and the trees that they are from."""

    pairs: int = 0
    duplicates: int = 0
    contradictions: int = 0
    trees: int = 0
    widest_gap: float = 0.0
    gaps: float = 0.0
    siblings: Counter[str] = field(default_factory=Counter)  # pairs of siblings, by level
    single: Counter[str] = field(default_factory=Counter)  # of these, with one response behind each side
    supported: Counter[tuple[str, int]] = field(default_factory=Counter)  # with so many behind both or more, by level
    levels: Counter[str] = field(default_factory=Counter)
    depths: Counter[int] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    separators: set[str] = field(default_factory=set)  # of the trees' steps
    rewards: dict[str, array[float]] = field(default_factory=dict)  # of all responses, by source
    _prompts: set[str] = field(default_factory=set)

    def add_tree(self, tree: Tree) -> None:
        self.trees += 1
        self.separators.add(tree["build"]["separator"])
        rewards = self.rewards.setdefault(tree["source"], array("d"))
        rewards.extend(response["reward"] for response in tree["responses"])
        self.widest_gap = max([self.widest_gap, *sibling_gaps(tree)])

    def add(self, pair: Pair) -> None:
        self.pairs += 1
        self.gaps += pair["gap"] or 0.0
        self.levels[pair["level"]] += 1
        if pair["depth"]:
            self.siblings[pair["level"]] += 1
            self.single[pair["level"]] += pair["support"] == Support(chosen=1, rejected=1)
            least = min(pair["support"]["chosen"], pair["support"]["rejected"])
            self.supported.update((pair["level"], n) for n in _SUPPORTS if least >= n)
            self.depths[pair["depth"]] += 1
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
            result["reward_sd_by_source"] = {
                name: round(float(np.std(all_)), 4) for name, all_ in self.rewards.items()
            }
            result["separators"] = sorted(self.separators)
            result["sibling_pairs_per_prompt"] = round(self.siblings.total() / self.trees, 2)
            result["sibling_pairs_by_depth"] = {str(at): self.depths[at] for at in sorted(self.depths)[:_DEPTHS]}
            shares = {level: round(self.single[level] / count, 4) for level, count in self.siblings.items()}
            result["single_response_share_by_level"] = shares
            for n in _SUPPORTS:
                result[f"{n}_responses_behind_both_sides_share_by_level"] = {
                    level: round(self.supported[level, n] / count, 4) for level, count in self.siblings.items()
                }
        return result
