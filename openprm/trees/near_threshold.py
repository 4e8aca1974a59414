"""Steps that merged just above the threshold, and steps that stayed apart just below it, for people to see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

from ..schema import Tree
from ..text import comparable
from .similarity import similarity
from .tree import MergeParameters, siblings

_MOST = 1000  # as many texts squared are compared


def near_threshold(
    trees: Iterable[Tree], parameters: MergeParameters, n: int = 3
) -> dict[str, list[tuple[float, str, str]]]:
    """Similarity and texts of up to `n` pairs of different steps, nearest to the threshold: "merged" and "apart".

    At most one of each a tree, of the first `_MOST` steps at a node; `parameters` are what the trees were built by.
    """
    measure = similarity(parameters.similarity)

    def alike(texts: Sequence[str]) -> Iterator[tuple[float, str, str]]:
        if len(texts) > 1:  # others were not compared, nor embedded
            matrix = measure.matrix(measure.prepare(texts := texts[:_MOST]))
            yield from ((float(matrix[i, j]), texts[i], texts[j]) for i, j in combinations(range(len(texts)), 2))

    merged, apart = [], []
    for tree in trees:
        steps = [[comparable(step).strip() for step in response["steps"]] for response in tree["responses"]]
        inside = [
            list(dict.fromkeys(steps[at["response"]][at["step"]] for at in node["members"])) for node in tree["nodes"]
        ]
        merged += sorted(pair for texts in inside[1:] for pair in alike(texts) if pair[1] == texts[0])[:1]
        kinds: dict[Any, list[str]] = {}
        for node in (node for nodes in siblings(tree) for node in nodes):
            text = inside[node["id"]][0]
            kinds.setdefault((node["parent"], parameters.kind(text, tree["question"])), []).append(text)
        # steps that name different things stay apart above it, too
        below = (pair for texts in kinds.values() for pair in alike(texts) if 0 < pair[0] < tree["build"]["threshold"])
        apart += sorted(below)[-1:]
    return {"merged": sorted(merged)[:n], "apart": sorted(apart)[: -n - 1 : -1]}


def excerpts(texts: Sequence[str], width: int) -> list[str]:
    """The texts in a line each of at most `width` characters, which shows where longer ones begin to differ."""
    lines = [" ".join(text.split()) for text in texts]
    differ = next((at for at, letters in enumerate(zip(*lines, strict=False)) if len({*letters}) > 1), 0)
    if differ > width // 3 and max(map(len, lines)) > width:
        lines = [f"…{line[differ - width // 3 :]}" for line in lines]
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]
