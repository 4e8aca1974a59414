"""Steps that merged just above the threshold, and steps that stayed apart just below it, for people to see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from ..schema import Tree
from ..text import comparable
from .similarity import EDIT_SIMILARITIES
from .tree import siblings


def near_threshold(trees: Iterable[Tree], n: int = 3) -> dict[str, list[tuple[float, str, str]]]:
    """Similarity and texts of up to `n` pairs of different steps, nearest to the threshold: "merged" and "apart".

    At most one of each a tree; the trees were built by an edit similarity.
    """
    merged, apart = [], []
    for tree in trees:
        scorer, threshold = EDIT_SIMILARITIES[tree["build"]["similarity"]], tree["build"]["threshold"]
        steps = [[comparable(step).strip() for step in response["steps"]] for response in tree["responses"]]
        inside = [
            list(dict.fromkeys(steps[at["response"]][at["step"]] for at in node["members"])) for node in tree["nodes"]
        ]
        merged += sorted((scorer(own, text), own, text) for own, *others in inside[1:] for text in others)[:1]
        sides = (
            pair for nodes in siblings(tree) for pair in combinations([inside[node["id"]][0] for node in nodes], 2)
        )
        alike = ((scorer(*pair, score_cutoff=threshold - 0.2), *pair) for pair in sides)
        # steps of different numbers or answers stay apart above it, too
        apart += sorted(found for found in alike if 0 < found[0] < threshold)[-1:]
    return {"merged": sorted(merged)[:n], "apart": sorted(apart)[: -n - 1 : -1]}


def excerpts(texts: Sequence[str], width: int) -> list[str]:
    """The texts in a line each of at most `width` characters, which shows where longer ones begin to differ."""
    lines = [" ".join(text.split()) for text in texts]
    differ = next((at for at, letters in enumerate(zip(*lines, strict=False)) if len({*letters}) > 1), 0)
    if differ > width // 3 and max(map(len, lines)) > width:
        lines = [f"…{line[differ - width // 3 :]}" for line in lines]
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]
