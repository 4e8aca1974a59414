"""What keeps steps apart however alike they are: numbers, letters of options, names, denials.

Neither edits nor embeddings see what matters in `17 + 25 = 43`, `The answer is (E)`, `London is the capital` or
`It cannot fly`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

#: Reads the names in a text.
ReadNames = Callable[[str], frozenset[str]]

# A capital letter on its own is an option or a variable; A and I are only where "option" or a mark says so.
_NUMBER = re.compile(
    r"\d+(?:[.,]\d+)*|(?<![\w'’])(?:[B-HJ-Z]|(?<=(?i:option|choice)\s)[AI]|[AI](?=\s*(?:[)\]}.:*$]|$)))(?![\w'’])"
)
_DENIAL = re.compile(r"(?i)\b(?:no|not|cannot|never|none|neither|nor|without|false|incorrect|wrong)\b|n['’]t\b")
_WORD = re.compile(r"[^\W\d_]{2,}")
_INSIDE = re.compile(r"(?<=[\w,)] )[^\W\d_]{2,}")  # a sentence
_SUBJECT = re.compile(r"[^\W\d_]{2,}(?= (?:is|was|are|were|has|had|have)\b)")


def numbers(text: str) -> tuple[str, ...]:
    """The numbers in a text and the letters of options, in order.

    `17 + 25 = 42` and `17 + 25 = 43` are 0.92 similar, but differ; so do `The answer is (E)` and `The answer is (H)`.
    """
    return tuple(_NUMBER.findall(text))


def denies(text: str) -> bool:
    """Whether a text says that something is not so."""
    return _DENIAL.search(text) is not None


def name_reader(texts: Iterable[str]) -> ReadNames:
    """Reads names as `texts`, the question and all responses, write them.

    A word is a name where they write it with a capital inside sentences, more often than without. One that they have
    with a capital at the beginning of sentences only is a name where it is the subject of `is` or `has`.
    """
    small: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    subjects: set[str] = set()
    for text in texts:
        small.update(word for word in _WORD.findall(text) if word[0].islower())
        inside.update(word.lower() for word in _INSIDE.findall(text) if word[0].isupper())
        subjects.update(word.lower() for word in _SUBJECT.findall(text) if word[0].isupper())

    def is_name(word: str) -> bool:
        return inside[word] > small[word] or (inside[word] == small[word] == 0 and word in subjects)

    return lambda text: frozenset(
        word.lower() for word in _WORD.findall(text) if word[0].isupper() and is_name(word.lower())
    )


def differ(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether each of two texts names something that the other does not. (`She` may stand for a name.)"""
    return not (one <= other or other <= one)
