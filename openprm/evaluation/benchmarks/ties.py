"""RewardBench 2's score of prompts with several right responses (Malik et al., 2025, arXiv:2506.01937)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import Failure
from ..bootstrap import OfWeights, mean, weighted_sum


class _Margins(NamedTuple):
    """Of one prompt: of its worst right response above its best wrong one, and of its best right above its worst."""

    right_wrong: float
    among_right: float


def tied_prompt(name: str) -> str:
    """What the two items of a prompt share, "ref:N" with one right response and "tied:N" with several.

    Raises Failure for any other name.
    """
    sort, _, prompt = name.partition(":")
    if sort not in ("ref", "tied") or not prompt:
        raise Failure(f"the id {name!r} is neither ref:N nor tied:N", "name the column of the id")
    return f"ties {prompt}"


def ties_score(names: Sequence[str], scores: Sequence[Sequence[float]], right: Sequence[int]) -> OfWeights:
    """0.3 times the accuracy on "tied" items (all right responses above all wrong ones), 0.3 times that on "ref" ones,
    0.2 times the share of prompts whose margin between right and wrong is larger than that among the right ones, 0.2
    times the same with the smaller margin of both items, and 0.01 times tanh(smaller margin / margin among right - 1).

    names: of the items, "" for those of other subsets. scores: of each item's responses, the `right` ones first.
    """
    found = {
        name: (place, _margins(some[:n], some[n:]))
        for place, (name, some, n) in enumerate(zip(names, scores, right, strict=True))
        if name
    }
    accurate = {sort: np.full(len(names), np.nan) for sort in ("tied", "ref")}
    preferred, in_both, size = (np.full(len(names), np.nan) for _ in range(3))
    for name, (place, margins) in found.items():
        sort, _, prompt = name.partition(":")
        accurate[sort][place] = margins.right_wrong > 0
        if sort == "tied" and (reference := found.get(f"ref:{prompt}")):
            smaller = min(margins.right_wrong, reference[1].right_wrong)
            preferred[place] = margins.right_wrong > margins.among_right
            in_both[place] = smaller > margins.among_right
            with np.errstate(divide="ignore", invalid="ignore"):
                size[place] = np.nan_to_num(np.tanh(np.divide(smaller, margins.among_right) - 1))
    parts = ((accurate["tied"], 0.3), (accurate["ref"], 0.3), (preferred, 0.2), (in_both, 0.2), (size, 0.01))
    return weighted_sum([(mean(values)[0], weight) for values, weight in parts])


def _margins(right: Sequence[float], wrong: Sequence[float]) -> _Margins:
    if not np.isfinite([*right, *wrong]).all():
        return _Margins(-np.inf, 1.0)  # a response without a reward loses
    return _Margins(min(right) - max(wrong), max(right) - min(right))
