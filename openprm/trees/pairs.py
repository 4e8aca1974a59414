"""Process and outcome pairs in the unified format [Q, C, Pc, Pr] (paper, sections 3.1-3.2, appendix B.1).

Siblings of a tree whose values differ enough make process pairs, but mixed or outcome pairs where one side or both are
whole responses (see `LEVELS`); outcome pairs are also made of the responses of a tree, or of any preference dataset.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from ..schema import LEVELS, SCHEMA_VERSION, Message, Node, Pair, Support, Tree
from ..text import comparable
from .certainty import certainty, known
from .tree import response_text, sibling_gaps, siblings, tie_break, with_values

PROCESS, MIXED, OUTCOME = LEVELS
_Couple = tuple[Node, Node]
_Certain = Callable[[_Couple], float]


@dataclass(frozen=True)
class MinGap:
    """The smallest difference between two values that makes a pair, and its units.

    `units` is "reward" (the paper's 1.0 is one logit of one particular reward model), "sd" (standard deviations of the
    source's rewards) or "quantile" (of the source's gaps between siblings, in [0, 1]).
    """

    amount: float
    units: str = "reward"

    @classmethod
    def parse(cls, text: str) -> MinGap:
        """From `0.2`, `0.5sd` or `q0.9`; raises ValueError for anything else."""
        match = re.fullmatch(r"(q?)(\d*\.?\d+(?:[eE][-+]?\d+)?)(sd)?", text.strip())
        if not match or (match[1] and match[3]):
            raise ValueError(
                f"min gap {text!r} is not a number (0.2), standard deviations (0.5sd) or a quantile (q0.9)"
            )
        units = "quantile" if match[1] else "sd" if match[3] else "reward"
        amount = float(match[2])
        if units == "quantile" and amount > 1:
            raise ValueError(f"min gap {text!r}: a quantile lies between 0 and 1")
        return cls(amount, units)

    def __str__(self) -> str:
        return {"reward": f"{self.amount:g}", "sd": f"{self.amount:g}sd", "quantile": f"q{self.amount:g}"}[self.units]

    def in_reward_units(self, trees: Iterable[Tree]) -> dict[str, float]:
        """The smallest gap for each source, in the units of its reward. Reads the trees once."""
        rewards: dict[str, list[float]] = defaultdict(list)
        gaps: dict[str, list[float]] = defaultdict(list)
        for tree in trees:
            rewards[tree["source"]] += [response["reward"] for response in tree["responses"]]
            if self.units == "quantile":
                gaps[tree["source"]] += sibling_gaps(tree)
        if self.units == "sd":
            return {source: self.amount * float(np.std(values)) for source, values in rewards.items()}
        if self.units == "quantile":
            return {source: float(np.quantile(gaps[source] or [0.0], self.amount)) for source in rewards}
        return dict.fromkeys(rewards, self.amount)


_CHOICES = {
    "values": ("plain", "shrunken"),
    "select_by": ("gap", "certainty", "support", "depth"),
    "weigh": ("none", "certainty"),
}


@dataclass(frozen=True)
class PairParameters:
    """Which pairs to take from a tree.

    `select` is "max" (one pair per parent: the children with the largest difference, as the paper's p_c and p_r),
    "all" (every two siblings), or a number k (the k largest gaps of a tree). `min_support` is the smallest number of
    responses behind each side. With `shared_prefix` both sides follow the chosen side's prefix; without it, each keeps
    its own (the paper's better variant, Table 4a). `outcome` adds pairs of whole responses: "none", "best" (the best
    against the worst) or "all" (every two whose rewards differ enough).

    Values of few responses are mostly noise (see `openprm.trees.certainty`). `values` "shrunken" takes gaps of values
    that are shrunken towards their parent's, `min_certainty` is the smallest probability that the chosen side is the
    better one, `select_by` takes the "gap", the "certainty", the smaller "support" or the "depth" for `select`, and
    `weigh` "certainty" gives a pair of siblings the weight 2 P - 1: a toss-up counts nothing.

    Ties (equal values of siblings, equal rewards of responses, equal gaps) are broken by a hash of prompt, response
    and `seed`, never by an order; of siblings with equal values, those with more responses come first.
    """

    select: str = "max"
    min_support: int = 1
    shared_prefix: bool = False
    process: bool = True
    outcome: str = "none"
    values: str = "plain"
    min_certainty: float = 0.0
    select_by: str = "gap"
    weigh: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.select not in ("max", "all") and not (self.select.isdigit() and int(self.select) > 0):
            raise ValueError(f"select is {self.select!r}; use max, all, or how many pairs per tree (1, 2, ...)")
        if self.outcome not in ("none", "best", "all") and not (self.outcome.isdigit() and int(self.outcome) > 0):
            raise ValueError(f"outcome is {self.outcome!r}; use none, best, all, or how many pairs (1, 2, ...)")
        if not self.process and self.outcome == "none":
            raise ValueError("neither process nor outcome pairs are wanted; choose outcome pairs: best or all")
        if self.min_support < 1:
            raise ValueError(f"min_support is {self.min_support}; a node has at least 1 response")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; use {' or '.join(allowed)}")
        if not 0 <= self.min_certainty < 1:
            raise ValueError(f"min_certainty is {self.min_certainty}; it is a probability below 1")

    @property
    def needs_prior(self) -> bool:
        """Whether it matters how certain values are, so that `openprm.trees.certainty.priors` are needed."""
        return self.values == "shrunken" or self.min_certainty > 0 or "certainty" in (self.select_by, self.weigh)


def tree_pairs(
    tree: Tree, min_gap: float, parameters: PairParameters | None = None, prior: float | None = None
) -> list[Pair]:
    """The pairs of one tree; `min_gap` in the units of its reward. In order of parents, then of selection.

    prior: that of the tree's source (`openprm.trees.certainty.priors`), where the parameters need it.
    """
    parameters = parameters or PairParameters()
    valued, certain = _believed(tree, parameters, prior)
    couples = _sibling_pairs(valued, certain, min_gap, parameters) if parameters.process else []
    pairs = [_sibling_pair(tree, *couple, parameters.shared_prefix) for couple in couples]
    for pair, couple in zip(pairs, couples, strict=True) if parameters.weigh == "certainty" else ():
        pair["weight"] = max(0.0, 2 * certain(couple) - 1)
    pairs += _outcome_pairs(tree, min_gap, parameters)
    if not parameters.outcome.isdigit():
        return pairs
    whole = [pair for pair in pairs if pair["level"] == OUTCOME]
    others = [pair for pair in pairs if pair["level"] != OUTCOME]
    return others + _widest(tree, whole, int(parameters.outcome), parameters.seed)


def _widest(tree: Tree, pairs: Iterable[Pair], n: int, seed: int) -> list[Pair]:
    """`n` different pairs of whole responses with the widest gaps; of equal gaps by a hash."""
    responses = map(response_text, tree["responses"])
    hashes = dict(zip(map(comparable, responses), _tie_breaks(tree, seed), strict=True))
    distinct = {tuple(hashes[comparable(text)] for text in texts(pair)): pair for pair in pairs}
    order = sorted(distinct, key=lambda sides: (-round(distinct[sides]["gap"] or 0.0, 9), tie_break(seed, *sides)))
    return [distinct[sides] for sides in order[:n]]


def sibling_pairs(tree: Tree, min_gap: float, parameters: PairParameters, prior: float | None = None) -> list[_Couple]:
    """The nodes (chosen, rejected) of process pairs, with the values that count: siblings whose values differ by
    `min_gap` or more. `prior`: see `tree_pairs`."""
    return _sibling_pairs(*_believed(tree, parameters, prior), min_gap, parameters)


def _sibling_pairs(tree: Tree, certain: _Certain, min_gap: float, parameters: PairParameters) -> list[_Couple]:
    tie_breaks = _tie_breaks(tree, parameters.seed)

    def first(couple: _Couple) -> tuple[Any, ...]:
        """What is selected first; 0.6 - 0.4 and 0.4 - 0.2 are one gap, despite their rounding."""
        better, worse = couple
        by = {
            "gap": lambda: 0.0,
            "certainty": lambda: certain(couple),
            "support": lambda: min(better["n_leaves"], worse["n_leaves"]),
            "depth": lambda: better["depth"],
        }[parameters.select_by]
        return -by(), round(worse["value"] - better["value"], 9), *tie(better), *tie(worse)

    def tie(node: Node) -> tuple[int, str]:
        return -node["n_leaves"], tie_breaks[node["members"][0]["response"]]

    found: list[_Couple] = []
    for nodes in siblings(tree):
        supported = [node for node in nodes if node["n_leaves"] >= parameters.min_support]
        couples: list[Any] = [sorted(two, key=lambda node: -node["value"]) for two in combinations(supported, 2)]
        couples = [(a, b) for a, b in couples if _far(a["value"], b["value"], min_gap)]
        if parameters.min_certainty:
            couples = [couple for couple in couples if certain(couple) >= parameters.min_certainty]
        found += [min(couples, key=first)] if parameters.select == "max" and couples else couples
    return sorted(found, key=first)[: int(parameters.select)] if parameters.select.isdigit() else found


def _believed(tree: Tree, parameters: PairParameters, prior: float | None) -> tuple[Tree, _Certain]:
    """The tree with the values that count, and how certain it is of two nodes that the first is the better one."""
    if not parameters.needs_prior:
        return tree, lambda couple: math.nan  # never asked for
    if prior is None:
        raise ValueError("how certain values are needs a prior; give that of openprm.trees.certainty.priors")
    found = known(tree, prior)
    if parameters.values == "shrunken":
        tree = with_values(tree, [one.mean for one in found])
    certain = cache(lambda better, worse: certainty(found[better], found[worse]))
    return tree, lambda couple: certain(*(node["id"] for node in couple))


def _outcome_pairs(tree: Tree, min_gap: float, parameters: PairParameters) -> list[Pair]:
    if parameters.outcome == "none":
        return []
    tie_breaks = _tie_breaks(tree, parameters.seed)
    order = sorted(range(len(tie_breaks)), key=lambda i: (-tree["responses"][i]["reward"], tie_breaks[i]))
    ranked = [tree["responses"][i] for i in order]
    couples = [(ranked[0], ranked[-1])] if parameters.outcome == "best" else combinations(ranked, 2)
    pairs = []
    for better, worse in couples:
        chosen, rejected = response_text(better), response_text(worse)
        gap = better["reward"] - worse["reward"]
        if _far(better["reward"], worse["reward"], min_gap) and comparable(chosen) != comparable(rejected):
            pairs.append(preference_pair(tree["question"], chosen, rejected, tree["source"], tree["prompt_id"], gap))
    return pairs


def _tie_breaks(tree: Tree, seed: int) -> list[str]:
    """Of each response."""
    return [tie_break(seed, tree["prompt_id"], response_text(response)) for response in tree["responses"]]


def preference_pair(
    question: list[Message], chosen: str, rejected: str, source: str, prompt_id: str, gap: float | None = None
) -> Pair:
    """An outcome pair of two whole answers; `gap` is None if no reward says by how much one is better."""
    return Pair(
        schema_version=SCHEMA_VERSION,
        prompt_id=prompt_id,
        source=source,
        question=question,
        context="",
        chosen=chosen,
        rejected=rejected,
        rejected_context=None,
        level=OUTCOME,
        gap=gap,
        depth=0,
        support=Support(chosen=1, rejected=1),
        weight=1.0,
    )


def texts(pair: Mapping[str, Any]) -> tuple[str, str]:
    """The chosen and the rejected text, each with its context: (whole or partial) answers."""
    before = contexts(pair)
    return before[0] + pair["chosen"], before[1] + pair["rejected"]


def contexts(pair: Mapping[str, Any]) -> tuple[str, str]:
    """What comes before the chosen and the rejected step: the same text where the rejected one has no other."""
    own = pair["rejected_context"]
    return pair["context"], pair["context"] if own is None else own


def to_trl(pair: Pair) -> dict[str, list[Message]]:
    """The pair in TRL's conversational preference format: `prompt`, `chosen`, `rejected` as messages."""
    chosen, rejected = texts(pair)
    return {
        "prompt": pair["question"],
        "chosen": [Message(role="assistant", content=chosen)],
        "rejected": [Message(role="assistant", content=rejected)],
    }


def _far(better: float, worse: float, min_gap: float) -> bool:
    # 0.6 - 0.4 is a little less than 0.2 in floating point; and equal values are never a preference
    gap = better - worse
    return gap > 0 and (gap >= min_gap or math.isclose(gap, min_gap, rel_tol=1e-9, abs_tol=1e-12))


def _sibling_pair(tree: Tree, better: Node, worse: Node, shared_prefix: bool) -> Pair:
    """Each side is the step of the response that opened the node, after that response's own prefix."""
    depth = better["depth"]
    chosen_steps, rejected_steps = (
        tree["responses"][node["members"][0]["response"]]["steps"] for node in (better, worse)
    )
    context, own = "".join(chosen_steps[: depth - 1]), "".join(rejected_steps[: depth - 1])
    complete = sum(len(steps) == depth for steps in (chosen_steps, rejected_steps))
    return Pair(
        schema_version=SCHEMA_VERSION,
        prompt_id=tree["prompt_id"],
        source=tree["source"],
        question=tree["question"],
        context=context,
        chosen=chosen_steps[depth - 1],
        rejected=rejected_steps[depth - 1],
        rejected_context=None if shared_prefix or own == context else own,
        level=LEVELS[complete],
        gap=better["value"] - worse["value"],
        depth=depth,
        support=Support(chosen=better["n_leaves"], rejected=worse["n_leaves"]),
        weight=1.0,
    )
