"""Choices among subsets of a prompt's candidates: all subsets and all scorers at once.

The same choices as in `openprm.decoding.selection`, with ties averaged over. Subsets are masks, (subsets, candidates),
scores and log-weights (scorers, candidates); every choice has a correctness for each of both, (scorers, subsets).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Sums of weights may differ in the last digits by the order of their terms; such answers tie.
_TIED = 1 - 1e-12
_VANISHED = 1e-200  # a sum of weights that may have lost digits, or all of them


def random_subsets(available: int, n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """`draws` independent subsets, each of `n` of the `available` candidates, all equally likely."""
    return rng.random((draws, available)).argsort(axis=1) < n


def best_in(subsets: np.ndarray, scores: np.ndarray, correct: Sequence[float]) -> np.ndarray:
    """The mean correctness of the candidates with the highest score. A score of -inf is below all others."""
    among = np.where(subsets, scores[:, None], -np.inf)
    best = subsets & (among == among.max(axis=2, keepdims=True))
    return best @ np.asarray(correct, float) / best.sum(axis=2)


def vote_in(
    subsets: np.ndarray, answers: Sequence[str | None], correct: Sequence[float], weights: np.ndarray
) -> np.ndarray:
    """The mean correctness of the answers that win a vote with these log-weights; equal ones are a majority vote.

    An answer's correctness is the mean of the subset's candidates that give it. None has no vote: where all of a
    subset are None, it is the subset's mean.
    """
    right = np.asarray(correct, float)
    mean = subsets @ right / subsets.sum(axis=1)
    given = list(dict.fromkeys(answer for answer in answers if answer is not None))
    if not given:
        return np.tile(mean, (len(weights), 1))
    gives = np.array([[answer == one for one in given] for answer in answers], float)
    voting = (subsets & gives.any(axis=1)).astype(float)
    voters = voting @ gives
    of_answer = voting @ (gives * right[:, None]) / np.maximum(voters, 1)
    ballots = _ballots(voting, gives, weights)
    won = (ballots >= ballots.max(axis=2, keepdims=True) * _TIED) & (voters > 0)
    result = (won * of_answer).sum(axis=2) / np.maximum(won.sum(axis=2), 1)
    return np.where(voting.any(axis=1), result, mean)


def _ballots(voting: np.ndarray, gives: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The sum of weights of each answer, (scorers, subsets, answers), up to a factor for each scorer and subset."""

    def weights(scores: np.ndarray) -> np.ndarray:
        top = scores.max(axis=-1, keepdims=True)
        return np.where(np.isneginf(top), 1.0, np.exp(scores - np.where(np.isneginf(top), 0, top)))

    ballots = voting @ (weights(np.where(gives.any(axis=1), scores, -np.inf))[:, :, None] * gives)
    # Where a scorer's best voters are in other subsets, by the best of this one.
    for scorer, subset in np.argwhere((ballots.max(axis=2) < _VANISHED) & voting.any(axis=1)):
        among = voting[subset] > 0
        ballots[scorer, subset] = weights(scores[scorer, among]) @ gives[among]
    return ballots
