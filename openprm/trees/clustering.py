"""Which of the different steps at one parent merge, given how similar they are (see `openprm.trees.tree`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, starmap
from typing import Any

import numpy as np

from ..errors import Failure, InputError
from .distinctions import differ
from .similarity import Similarity

#: first: a step joins the group whose first step it is most similar to, one after the other. average, complete: the
#: two nearest groups merge until their mean (least) similarity is below the threshold.
LINKAGES = ("first", "average", "complete")
_NEVER = 1e9  # a distance: no mean with it comes near a threshold
_MOST = 10_000  # steps at one parent: their distances take 1.2 GB


def clusters(
    items: Sequence[Any], names: Sequence[frozenset[str]], measure: Similarity, threshold: float, linkage: str
) -> list[list[int]]:
    """The indexes of each group of n >= 2 steps, given as items of `measure` with the names in each.

    Steps that name different things are in no group together. Raises InputError without SciPy, and a Failure where
    there are too many steps for their distances to be held in memory.
    """
    if linkage == "first":
        return _one_by_one(items, names, measure, threshold)
    try:
        from scipy.cluster.hierarchy import fcluster
        from scipy.cluster.hierarchy import linkage as link
        from scipy.spatial.distance import squareform
    except ImportError as error:
        raise InputError(f"linkage {linkage} needs SciPy: pip install 'openprm[embeddings]'") from error
    if len(items) > _MOST:
        remedy = f"take the linkage first, or fewer responses: the most is {_MOST:,}"
        raise Failure(f"too many different steps at one parent for the linkage {linkage}", remedy)
    distances = np.maximum(1 - squareform(measure.matrix(items), checks=False), 0)
    distances[np.fromiter(starmap(differ, combinations(names, 2)), bool)] = _NEVER
    labels = fcluster(link(distances, linkage), 1 - threshold, "distance")
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
