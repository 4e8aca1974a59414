"""Choices among random subsets of a prompt's candidates, all subsets at once.

The same choices as in `openprm.decoding.selection`, where they are made among all candidates: ties are averaged over.
Subsets are masks, (subsets, candidates); every function returns a correctness for each subset, (subsets,).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Sums of weights may differ in the last digits by the order of their terms; such answers tie.
_TIED = 1 - 1e-12


def random_subsets(available: int, n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """`draws` independent subsets, each of `n` of the `available` candidates, all equally likely."""
    return rng.random((draws, available)).argsort(axis=1) < n


def covered_in(subsets: np.ndarray, correct: Sequence[float]) -> np.ndarray:
    """1 where at least one candidate is correct (above 0)."""
    return (subsets & (np.asarray(correct) > 0)).any(axis=1).astype(float)


def best_in(subsets: np.ndarray, scores: Sequence[float], correct: Sequence[float]) -> np.ndarray:
    """The mean correctness of the candidates with the highest score. A score of -inf is below all others."""
    among = np.where(subsets, scores, -np.inf)
    best = subsets & (among == among.max(axis=1, keepdims=True))
    return best @ np.asarray(correct, float) / best.sum(axis=1)


def vote_in(
    subsets: np.ndarray,
    answers: Sequence[str | None],
    correct: Sequence[float],
    scores: Sequence[float] | None = None,
) -> np.ndarray:
    """The mean correctness of the winning answers of a majority vote, or with `scores` of a weighted vote.

    An answer's correctness is the mean of the subset's candidates that give it. None has no vote: where all of a
    subset are None, it is the subset's mean.
    """
    right = np.asarray(correct, float)
    given = list(dict.fromkeys(answer for answer in answers if answer is not None))
    if not given:
        return subsets @ right / subsets.sum(axis=1)
    place = {answer: index for index, answer in enumerate(given)}
    gives = np.equal.outer([-1 if a is None else place[a] for a in answers], np.arange(len(given))).astype(float)
    voting = subsets & gives.any(axis=1)
    voters = voting @ gives
    ballots = voters if scores is None else _weights(voting, np.asarray(scores, float)) @ gives
    most = ballots.max(axis=1, keepdims=True)
    won = (ballots >= most * _TIED) & (voters > 0)
    of_answer = voting @ (gives * right[:, None]) / np.maximum(voters, 1)
    silent = ~voting.any(axis=1)
    result = (won * of_answer).sum(axis=1) / np.maximum(won.sum(axis=1), 1)
    result[silent] = subsets[silent] @ right / subsets[silent].sum(axis=1)
    return result


def _weights(voting: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """exp(score), relative to the best of each subset's voters, so that it neither overflows nor vanishes."""
    among = np.where(voting, scores, -np.inf)
    top = among.max(axis=1, keepdims=True)
    unscored = np.isneginf(top)  # all of them weigh the same
    return np.where(unscored, voting, np.exp(among - np.where(unscored, 0, top)))
