"""Choose one of N answers: best-of-N and votes (paper, sections 3.3 and 4.4). Pure Python.

Each choice comes twice. `best_of_n`, `majority_vote` and `weighted_vote` choose: they are deterministic, and a tie
that nothing else breaks goes to the candidate that comes first. `expected_best_of_n` and `expected_vote` measure: they
average over the tied, so that an accuracy does not depend on the order in which samples are stored.

A higher score is better. A score of -inf marks a candidate that could not be scored, such as an empty
response; NaN is a ValueError everywhere, as it has no rank.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

from ..scoring.aggregation import LOG_PROBABILITY, log_sigmoid
from ..scoring.units import DEFAULT_UNIT, LOG_ODDS, LOG_RATIO, STRENGTH

#: By the unit of scores (see `openprm.scoring.aggregation.score_unit`), the log-weight of a score in a vote.
_LOG_WEIGHTS: dict[str, Callable[[float], float]] = {
    STRENGTH: float,
    LOG_RATIO: float,
    LOG_PROBABILITY: float,
    LOG_ODDS: log_sigmoid,
}


def has_weights(unit: str) -> bool:
    """Whether scores of this unit can weigh votes."""
    return unit in _LOG_WEIGHTS


def log_weights(scores: Sequence[float], unit: str = DEFAULT_UNIT) -> list[float]:
    """The logarithm of what each candidate weighs in a vote.

    exp(score) of strengths, log-ratios and log-probabilities; sigmoid(score), the probability of being right, of
    log-odds. The two elect different answers: against three at log-odds 2, one at 6 has 1.0 to 2.6, and of strengths
    403 to 22. Raises ValueError for other units, which say neither odds nor probabilities.
    """
    if not has_weights(unit):
        raise ValueError(
            f"a vote is weighted by odds or probabilities, which scores of the unit {unit!r} do not give; take the "
            "best of N or the majority vote"
        )
    return list(map(_LOG_WEIGHTS[unit], scores))


def best_of_n(scores: Sequence[float], step_rewards: Sequence[Sequence[float | None]] = ()) -> int:
    """The index of the highest score; of tied ones, that of the largest of `tie_weights`, else the first.

    step_rewards: of each candidate, for the weights. Raises ValueError where there are no scores, or one is NaN.
    """
    _check_scores(scores)
    weights = tie_weights(step_rewards) or [0.0] * len(scores)
    return max(range(len(scores)), key=list(zip(scores, weights, strict=True)).__getitem__)


def tie_weights(step_rewards: Sequence[Sequence[float | None]]) -> list[float]:
    """What candidates of equal scores are chosen by: exp(the last step's reward), summed over equal candidates (those
    with the same step rewards), as in a weighted vote; its logarithm.

    By `min`, answers that share a low step are tied. The last reward is that of the whole answer, and how often it was
    sampled says something too: by either alone some models choose worse than chance. This is so whatever the unit.
    """
    known = [tuple(reward for reward in rewards if reward is not None) for rewards in step_rewards]
    times = Counter(known)
    return [rewards[-1] + math.log(times[rewards]) if rewards else -math.inf for rewards in known]


def majority_vote(answers: Sequence[str | None]) -> str | None:
    """The most frequent answer; of tied ones, the one seen first.

    None stands for a response without an answer: it has no vote, and wins only where all are None.
    Raises ValueError where there are no answers.
    """
    return _winners(answers, vote_weights(answers, None))[0]


def weighted_vote(answers: Sequence[str | None], scores: Sequence[float], unit: str = DEFAULT_UNIT) -> str | None:
    """The answer with the largest sum of weights (see `log_weights`); ties and None as in `majority_vote`.

    Rewards trained with the Bradley-Terry objective (paper, section 3.2) are logits, known up to a constant per prompt
    only. exp(r) is the strength of such a candidate, P(i beats j) = exp(r_i) / (exp(r_i) + exp(r_j)), and the vote
    does not change when a constant is added to all scores, as it would with a sigmoid. Scores far apart make it
    best-of-N, equal scores make it the majority vote; divide the scores by a temperature to go between.

    Raises ValueError where the lengths differ, there are no answers, a score is NaN, or scores of their `unit` do not
    weigh votes.
    """
    return _winners(answers, vote_weights(answers, scores, unit))[0]


def expected_best_of_n(scores: Sequence[float], correct: Sequence[float], n: int | None = None) -> float:
    """The expected correctness of the best of `n` candidates drawn without replacement (default: all).

    The exact mean over all subsets of size `n`, and over the tied best ones of each. The paper (section
    4.4) estimates the same with five random subsets. A group of tied candidates holds the best one in
    C(as good or worse, n) - C(worse, n) of the C(N, n) subsets, and by symmetry each of the group is as
    likely to be it.

    Raises ValueError where the lengths differ, `n` is not within 1..N, or a score is NaN.
    """
    _check_scores(scores)
    _check_lengths(scores, correct)
    n = _check_n(n, len(scores))
    groups: dict[float, list[float]] = {}
    for score, value in sorted(zip(scores, correct, strict=True)):
        groups.setdefault(score, []).append(value)
    subsets = math.comb(len(scores), n)
    terms, no_better, before = [], 0, 0
    for group in groups.values():
        no_better += len(group)
        within = math.comb(no_better, n)
        terms.append((within - before) / subsets * sum(group) / len(group))
        before = within
    return math.fsum(terms)


def expected_vote(
    answers: Sequence[str | None],
    correct: Sequence[float],
    scores: Sequence[float] | None = None,
    unit: str = DEFAULT_UNIT,
) -> float:
    """The expected correctness of the majority vote, or with `scores` of the weighted vote.

    The mean over the tied winners; the correctness of an answer is the mean of the candidates that give
    it (they agree where answers are compared with a reference). Raises as the votes do.
    """
    _check_lengths(answers, correct)
    winners = _winners(answers, vote_weights(answers, scores, unit))
    return fmean(
        fmean(value for answer, value in zip(answers, correct, strict=True) if answer == winner) for winner in winners
    )


def coverage(correct: Sequence[float], n: int | None = None) -> float:
    """The expected correctness of the most correct of `n` candidates drawn without replacement (default: all).

    Of 0 and 1 it is the chance that one of them is correct, by the unbiased estimator of pass@n (Chen et al., 2021),
    1 - C(wrong, n) / C(N, n); of graded rewards the best that can be reached. Raises ValueError where `n` is not
    within 1..N.
    """
    return expected_best_of_n(correct, correct, n)


def vote_weights(
    answers: Sequence[str | None], scores: Sequence[float] | None, unit: str = DEFAULT_UNIT
) -> list[float]:
    """What each candidate's vote weighs, up to a factor: by `log_weights`, or equally much without scores."""
    if scores is None:
        return [1.0] * len(answers)
    _check_scores(scores)
    _check_lengths(answers, scores)
    weights = log_weights(scores, unit)
    # Relative to the best candidate that has a vote: exp neither overflows
    # nor takes all the weights to 0. The best weighs 1 even at -inf, where all are equally unscored.
    top = max((weight for answer, weight in zip(answers, weights, strict=True) if answer is not None), default=0)
    return [1.0 if weight >= top else math.exp(weight - top) for weight in weights]


def _winners(answers: Sequence[str | None], votes: Sequence[float]) -> list[str | None]:
    """The answers with the most votes, in the order in which they were seen."""
    if not answers:
        raise ValueError("no answers to vote on")
    ballots: dict[str | None, list[float]] = {}
    for answer, vote in zip(answers, votes, strict=True):
        if answer is not None:
            ballots.setdefault(answer, []).append(vote)
    # fsum is exact before it rounds: answers with the same votes tie, in whatever order they came.
    sums = {answer: math.fsum(ballot) for answer, ballot in ballots.items()}
    most = max(sums.values(), default=0.0)
    return [answer for answer, total in sums.items() if total == most] or [None]


def _check_scores(scores: Sequence[float]) -> None:
    if not scores:
        raise ValueError("no scores to choose from")
    if any(math.isnan(score) for score in scores):
        raise ValueError("a score is NaN")


def _check_lengths(one: Sequence[object], other: Sequence[object]) -> None:
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} values do not belong to the same candidates")


def _check_n(n: int | None, available: int) -> int:
    n = available if n is None else n
    if not 1 <= n <= available:
        raise ValueError(f"cannot draw {n} of {available} candidates")
    return n
