"""Which of the different steps at one parent merge, given how similar they are (see `openprm.trees.tree`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..errors import InputError
from .distinctions import differ
from .similarity import Similarity

#: first: a step joins the group whose first step it is most similar to, one after the other. average, complete: the
#: two nearest groups merge until their mean (least) similarity is below the threshold.
LINKAGES = ("first", "average", "complete")
_NEVER = 1e9  # a distance: no mean with it comes near a threshold


def clusters(
    items: Sequence[Any], names: Sequence[frozenset[str]], measure: Similarity, threshold: float, linkage: str
) -> list[list[int]]:
    """The indexes of each group of n >= 2 steps, given as items of `measure` with the names in each.

    Steps that name different things are in no group together.
    """
    if linkage == "first":
        return _one_by_one(items, names, measure, threshold)
    try:
        from scipy.cluster.hierarchy import fcluster
        from scipy.cluster.hierarchy import linkage as link
    except ImportError as error:
        raise InputError(f"linkage {linkage} needs SciPy: pip install 'openprm[embeddings]'") from error
    alike = measure.matrix(items)[np.triu_indices(len(items), k=1)]
    apart = [differ(*sides) for sides in combinations(names, 2)]
    labels = fcluster(link(np.where(apart, _NEVER, np.maximum(1 - alike, 0)), linkage), 1 - threshold, "distance")
    return [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]


def _one_by_one(
    items: Sequence[Any], names: Sequence[frozenset[str]], measure: Similarity, threshold: float
) -> list[list[int]]:
    groups: list[list[int]] = []
    for index, (item, own) in enumerate(zip(items, names, strict=True)):
        fitting = [group for group in groups if not own or not any(differ(own, names[at]) for at in group)]
        found = measure.nearest(item, [items[group[0]] for group in fitting], threshold)
        if found is None:
            groups.append([index])
        else:
            fitting[found].append(index)
    return groups
