"""Which prompts are held out to measure on, and whether any of them is trained on.

A trained model has the ranks of its prompts in the file `trained_on.txt`, and so have the scores that it gives.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError
from ..runs.folder import download
from ..schema import Message
from ..text import comparable

_Row = TypeVar("_Row", bound=Mapping[str, Any])

TRAINED_ON = "trained_on.txt"

#: Numbers, words, and signs that mean something.
_WORDS = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d]+|[^\w\s.,;:!?\"'`*]")


def question_words(question: Iterable[Message]) -> tuple[str, ...]:
    """What a question says, but for case, space and punctuation: questions that share it are one."""
    return tuple(_WORDS.findall(comparable(" ".join(turn["content"] for turn in question)).casefold()))


def shared_questions(rows: Iterable[Mapping[str, Any]], held: Iterable[Mapping[str, Any]]) -> list[str]:
    """The last turns of questions in `held` that are also in `rows` (see `question_words`)."""
    known = {question_words(row["question"]) for row in rows}
    asked = {question_words(row["question"]): row["question"][-1]["content"] for row in held}
    return [text for words, text in asked.items() if words in known]


def question_rank(question: Iterable[Message], seed: int = 0) -> int:
    """A random number of 64 bits for each question, the same for those that say the same."""
    text = f"hold out\0{seed}\0" + " ".join(question_words(question))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def write_trained_on(folder: Path, ranks: Iterable[int]) -> None:
    """Writes the ranks of the questions that a model was trained on, a line each, in order."""
    (folder / TRAINED_ON).write_text("".join(f"{rank:016x}\n" for rank in sorted(set(ranks))), "utf-8")


def read_trained_on(model: str | Path, revision: str | None = None) -> set[int]:
    """The ranks in a folder, or in a model on the Hub; none where it does not say or cannot be reached."""
    try:
        folder = Path(model) if Path(model).is_dir() else download(str(model), "model", revision, [TRAINED_ON])
        return {int(line, 16) for line in (folder / TRAINED_ON).read_text("utf-8").split()}
    except (InputError, FileNotFoundError):
        return set()


def drawn(ranks: Iterable[int], limit: int | None = None) -> list[int]:
    """The `limit` lowest of the different ranks, in order: so many questions, drawn at random; None: all."""
    return sorted(set(ranks))[:limit]


def divide(ranks: Iterable[int], holdout: float, limit: int | None = None) -> tuple[set[int], set[int]]:
    """The ranks of questions to train on, and of those held out: of the `limit` lowest, that share, rounded.

    Both have at least one. Raises InputError where there are fewer than two questions, or the share is not within 0
    and 1.
    """
    if not 0 < holdout < 1:
        raise InputError(f"the share of prompts to hold out is {holdout:g}; give one between 0 and 1, such as 0.1")
    kept = drawn(ranks, limit)
    if len(kept) < 2:
        raise InputError("there are fewer than two different questions: none can be held out")
    n = min(max(round(holdout * len(kept)), 1), len(kept) - 1)
    return set(kept[n:]), set(kept[:n])


def hold_out(rows: Sequence[_Row], share: float) -> tuple[list[_Row], list[_Row]]:
    """The rows to train on, and those of the held-out share of the questions: none where there is one question."""
    ranks = [question_rank(row["question"]) for row in rows]
    if len(set(ranks)) < 2:
        return list(rows), []
    _, test = divide(ranks, share)
    kept, held = (
        [row for row, rank in zip(rows, ranks, strict=True) if (rank in test) is is_held] for is_held in (False, True)
    )
    return kept, held
