"""How similar two steps are, and which of several steps a step is most similar to.

The edit similarities are rapidfuzz's, in [0, 1]. The paper measures edit distance (section 3.1, after Ristad &
Yianilos) without naming the normalization, so it is an argument here. They miss what matters in a calculation: see
`openprm.trees.distinctions`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Indel, JaroWinkler, Levenshtein

from ..errors import Failure

EDIT_SIMILARITIES: dict[str, Callable[..., float]] = {
    "levenshtein": Levenshtein.normalized_similarity,
    "indel": Indel.normalized_similarity,
    "jaro_winkler": JaroWinkler.normalized_similarity,
}
DEFAULT_SIMILARITY = "levenshtein"
#: The name of the other one, which needs a model.
EMBEDDING = "embedding"

#: Maps texts to vectors of any length, one per text.
Embed = Callable[[Sequence[str]], Any]


class EditSimilarity:
    """A normalized edit similarity by name; raises ValueError for an unknown one."""

    model: str | None = None

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

    def matrix(self, items: Sequence[Any]) -> np.ndarray:
        """The similarities of n items to one another, [n, n]."""
        return process.cdist(items, items, scorer=EDIT_SIMILARITIES[self.name], dtype=np.float64)


class EmbeddingSimilarity:
    """Cosine similarity of the vectors that `embed`, a function of the user's, gives for texts.

    It is called once for each depth, with all distinct steps that are compared there. Merging is only as
    deterministic as `embed`. model: what identifies the model behind it, which trees record.
    """

    name = EMBEDDING

    def __init__(self, embed: Embed, model: str | None = None):
        self._embed = embed
        self.model = model

    def prepare(self, texts: Sequence[str]) -> Sequence[np.ndarray]:
        """Raises a Failure for a vector that is zero or not finite."""
        if not texts:
            return []
        vectors = np.asarray(self._embed(list(texts)), dtype=np.float64)
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise ValueError(
                f"embed gave an array of shape {vectors.shape} for {len(texts)} texts; one row each is needed"
            )
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if len(bad := np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))):
            text = texts[bad[0]]
            remedy = f"leave {text if len(text) <= 100 else text[:99] + '…'!r} out, or take another model"
            raise Failure("the embedding of a step is zero or not finite", remedy)
        return list(vectors / norms)

    def nearest(self, item: np.ndarray, others: Sequence[np.ndarray], threshold: float) -> int | None:
        if not others:
            return None
        cosines = np.stack(others) @ item
        best = int(cosines.argmax())
        return best if cosines[best] >= threshold else None

    def matrix(self, items: Sequence[Any]) -> np.ndarray:
        vectors = np.stack(items)
        return vectors @ vectors.T


Similarity = EditSimilarity | EmbeddingSimilarity


def similarity(measure: str | Embed | Similarity) -> Similarity:
    """A similarity from its name, from a function that embeds texts, or as it is."""
    if isinstance(measure, str):
        return EditSimilarity(measure)
    return measure if isinstance(measure, Similarity) else EmbeddingSimilarity(measure)
