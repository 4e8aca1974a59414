"""How alike two steps are, and which of several a step is most like.

The edit similarities are rapidfuzz's, in [0, 1]; the paper measures edit distance (section 3.1,
after Ristad & Yianilos) without naming the normalization, so it is an argument here. They miss
what matters in a calculation, see `numbers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Indel, JaroWinkler, Levenshtein

EDIT_SIMILARITIES: dict[str, Callable[..., float]] = {
    "levenshtein": Levenshtein.normalized_similarity,
    "indel": Indel.normalized_similarity,
    "jaro_winkler": JaroWinkler.normalized_similarity,
}
DEFAULT_SIMILARITY = "levenshtein"

#: Maps texts to vectors, one row per text; any length, not zero.
Embed = Callable[[Sequence[str]], Any]


class Similarity(Protocol):
    """Finds the nearest of several steps. `prepare` turns texts into what `nearest` compares."""

    name: str

    def prepare(self, texts: Sequence[str]) -> Sequence[Any]:
        """One comparable item per text."""

    def nearest(self, item: Any, others: Sequence[Any], threshold: float) -> int | None:
        """Index of the most similar of `others`, the first on a tie; None if all are below `threshold`."""


class EditSimilarity:
    """A normalized edit similarity by name; raises ValueError for an unknown one."""

    def __init__(self, name: str = DEFAULT_SIMILARITY):
        if name not in EDIT_SIMILARITIES:
            raise ValueError(f"unknown similarity {name!r}; choose one of {', '.join(EDIT_SIMILARITIES)}")
        self.name = name
        self._scorer = EDIT_SIMILARITIES[name]

    def prepare(self, texts: Sequence[str]) -> Sequence[str]:
        return texts

    def nearest(self, item: str, others: Sequence[str], threshold: float) -> int | None:
        # score_cutoff lets rapidfuzz give up early on every comparison that cannot reach the threshold
        found = process.extractOne(item, others, scorer=self._scorer, score_cutoff=threshold)
        return None if found is None else int(found[2])


class EmbeddingSimilarity:
    """Cosine similarity of vectors from `embed`, a function the user passes: texts in, one vector each out.

    Called once per tree, with all its distinct steps. Not deterministic where `embed` is not.
    """

    def __init__(self, embed: Embed, name: str = "embedding"):
        self.name = name
        self._embed = embed

    def prepare(self, texts: Sequence[str]) -> Sequence[np.ndarray]:
        if not texts:
            return []
        vectors = np.asarray(self._embed(list(texts)), dtype=np.float64)
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise ValueError(
                f"embed gave an array of shape {vectors.shape} for {len(texts)} texts; one row each is needed"
            )
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(norms).all() and norms.all()):
            raise ValueError("embed gave a zero or non-finite vector, which has no cosine")
        return list(vectors / norms)

    def nearest(self, item: np.ndarray, others: Sequence[np.ndarray], threshold: float) -> int | None:
        if not others:
            return None
        cosines = np.stack(others) @ item
        best = int(cosines.argmax())
        return best if cosines[best] >= threshold else None


def similarity(measure: str | Embed | Similarity) -> Similarity:
    """A similarity from its name, from a function that embeds texts, or as it is."""
    if isinstance(measure, str):
        return EditSimilarity(measure)
    if isinstance(measure, (EditSimilarity, EmbeddingSimilarity)):
        return measure
    return EmbeddingSimilarity(measure)  # type: ignore[arg-type]


_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def numbers(text: str) -> tuple[str, ...]:
    """The numbers in a text, in order. `17 + 25 = 42` and `17 + 25 = 43` are 0.92 alike and not the same step."""
    return tuple(_NUMBER.findall(text))
