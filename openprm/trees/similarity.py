"""How similar two steps are, and which of several steps a step is most similar to.

The edit similarities are rapidfuzz's, in [0, 1]. The paper measures edit distance (section 3.1, after Ristad &
Yianilos) without naming the normalization, so it is an argument here. They miss what matters in a calculation: see
`numbers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Indel, JaroWinkler, Levenshtein

EDIT_SIMILARITIES: dict[str, Callable[..., float]] = {
    "levenshtein": Levenshtein.normalized_similarity,
    "indel": Indel.normalized_similarity,
    "jaro_winkler": JaroWinkler.normalized_similarity,
}
DEFAULT_SIMILARITY = "levenshtein"

#: Maps texts to vectors of any length, one per text; none may be zero.
Embed = Callable[[Sequence[str]], Any]


class EditSimilarity:
    """A normalized edit similarity by name; raises ValueError for an unknown one."""

    def __init__(self, name: str = DEFAULT_SIMILARITY):
        if name not in EDIT_SIMILARITIES:
            raise ValueError(f"unknown similarity {name!r}; choose one of {', '.join(EDIT_SIMILARITIES)}")
        self.name = name

    def prepare(self, texts: Sequence[str]) -> Sequence[str]:
        """One item per text, which `nearest` can compare."""
        return texts

    def nearest(self, item: str, others: Sequence[str], threshold: float) -> int | None:
        """Index of the most similar of `others`, the first on a tie; None if all are below `threshold`."""
        # score_cutoff lets rapidfuzz give up early on every comparison that cannot reach the threshold; a little less,
        # since it may round a similarity that equals its cutoff away
        found = process.extractOne(item, others, scorer=EDIT_SIMILARITIES[self.name], score_cutoff=threshold - 1e-6)
        return int(found[2]) if found and found[1] >= threshold else None


class EmbeddingSimilarity:
    """Cosine similarity of the vectors that `embed`, a function of the user's, gives for texts.

    It is called once per tree, with all distinct steps. Merging is only as deterministic as `embed`.
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


Similarity = EditSimilarity | EmbeddingSimilarity


def similarity(measure: str | Embed | Similarity) -> Similarity:
    """A similarity from its name, from a function that embeds texts, or as it is."""
    if isinstance(measure, str):
        return EditSimilarity(measure)
    return measure if isinstance(measure, Similarity) else EmbeddingSimilarity(measure)


# A capital letter on its own is an option or a variable; A and I are only where "option" or a mark says so.
_NUMBER = re.compile(
    r"\d+(?:[.,]\d+)*|(?<![\w'’])(?:[B-HJ-Z]|(?<=(?i:option|choice)\s)[AI]|[AI](?=\s*(?:[)\]}.:*$]|$)))(?![\w'’])"
)


def numbers(text: str) -> tuple[str, ...]:
    """The numbers in a text and the letters of options, in order.

    `17 + 25 = 42` and `17 + 25 = 43` are 0.92 similar, but differ; so do `The answer is (E)` and `The answer is (H)`.
    """
    return tuple(_NUMBER.findall(text))
