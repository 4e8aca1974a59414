"""Step labels from what is there: the values of trees, and the confidence of a verifier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import Failure
from ..schema import StepLabels, Tree
from ..scoring.units import LOG_ODDS
from .step_labels import CORRECT, NO_ERROR, VALUE, step_labels

_NOTHING = 1e-5  # a confidence below it is taken for none (AutoPSV)


def labels_of_tree(tree: Tree) -> list[StepLabels | Failure]:
    """The values of the nodes that each response goes through; support is the number of responses behind them.

    A response is a Failure where a value is outside [0, 1], as of rewards that are no probabilities.
    """
    of = {(member["response"], member["step"]): node for node in tree["nodes"] for member in node["members"]}
    found: list[StepLabels | Failure] = []
    for index, response in enumerate(tree["responses"]):
        nodes = [of[index, step] for step in range(len(response["steps"]))]
        try:
            found.append(
                step_labels(
                    {**tree, "sample_index": response["sample_index"]},
                    response["steps"],
                    [node["value"] for node in nodes],
                    support=[node["n_leaves"] for node in nodes],
                    kind=VALUE,
                    by=f"tree of {tree['reward_name']}",
                )
            )
        except Failure as failure:
            found.append(failure.at(f"prompt {tree['prompt_id']!r}, sample {response['sample_index']}"))
    return found


def confidence(reward: float, unit: str) -> float:
    """The probability that a reward says. Raises Failure for one of a unit that says none."""
    if unit == LOG_ODDS:
        return 1 / (1 + math.exp(-reward)) if reward > -700 else 0.0
    if unit == "value" and 0 <= reward <= 1:
        return reward
    raise Failure(
        f"a {unit} of {reward:.3g} is no probability", "take a verifier whose rewards are log-odds or values"
    )


def first_drop(confidences: Sequence[float], drop: float) -> int:
    """The first step whose confidence is nearly 0, or falls by more than the share `drop` of that before it; -1: none
    (AutoPSV, Lu et al., 2024, with 0.5)."""
    for index, after in enumerate(confidences):
        before = confidences[index - 1] if index else None
        if after < _NOTHING or (before is not None and (after - before) / before < -drop):
            return index
    return NO_ERROR


def labels_by_verifier(row: Mapping[str, Any], scored: Mapping[str, Any], drop: float = 0.5) -> StepLabels:
    """Hard labels of the response in `row` from its step rewards: right before the first drop, wrong from it on.

    Raises Failure where a step has no reward, or the rewards are no probabilities.
    """
    if None in scored["step_rewards"]:
        raise Failure("the verifier did not read the response to its end", "take one that reads longer responses")
    error = first_drop([confidence(reward, scored["unit"]) for reward in scored["step_rewards"]], drop)
    right = len(scored["steps"]) if error == NO_ERROR else error
    labels = [float(index < right) for index in range(len(scored["steps"]))]
    return step_labels(row, scored["steps"], labels, kind=CORRECT, by="verifier", first_error=error)
