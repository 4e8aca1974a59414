"""Early rejection: stop answers whose prefix scores too far below the best, at a stated risk of stopping the best.

    rule = calibrate([ScoredSamples(step_rewards, "min") for step_rewards in by_prompt], risk=0.1)
    results = Method("best-of-n", n, "min", rule).run(questions, generate, score, seeds)

N answers of a prompt grow side by side, a step at a time. At depth d their partial scores are compared, which are the
aggregates of the first d step rewards (of all, where an answer is finished). An unfinished answer that is more than
`RejectionRule.threshold` below the best one is stopped. The threshold is set by split conformal prediction on prompts
whose answers are scored to the end:

    With w the answer that best-of-N chooses, of L steps, let S = max over d <= L of (best partial score - w's).
    The rule stops w only if S > threshold, because the best of those still alive is at most the best of all.
    threshold = the ceil((n + 1)(1 - risk))-th smallest S of n prompts, so for one more, exchangeable with them,
    P(S > threshold) <= risk: all n + 1 ranks of its S are equally likely.

So `risk` bounds the share of prompts whose best-of-N answer is stopped, over prompts and calibrations alike, if the
answers are sampled and rewarded as those of the calibration were. A single calibration may have a larger share: it is
at most Beta(n + 1 - k, k), k the rank above. With 4 / risk prompts or more, 19 calibrations of 20 stay below twice the
risk, and `calibrate` asks for as many. What takes the place of a stopped answer is often as good: `simulate` measures
that. Partial scores are compared at equal depth only, so that any aggregation will do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from statistics import fmean

from ..scoring.aggregation import aggregate
from .selection import tie_weights

#: The rewards of an answer's steps; None from the first that did not fit into the reward model.
StepRewards = Sequence[float | None]


@dataclass(frozen=True)
class RejectionRule:
    """When an answer is stopped, and what that holds for.

    threshold: how far below the best partial score, in units of the score
    aggregation, n_answers: how the calibration's answers were scored, and how many a prompt had
    risk: the chance, at most, that a prompt's best answer is stopped, over prompts and calibrations
    n_prompts: of the calibration
    """

    threshold: float
    aggregation: str
    n_answers: int
    risk: float
    n_prompts: int

    def keeps(self, scores: Sequence[float]) -> list[bool]:
        """For the partial scores of a prompt's answers at one depth, which of them are not to be stopped."""
        top = max(scores)
        return [_below(score, top) <= self.threshold for score in scores]


@dataclass(frozen=True)
class ScoredSamples:
    """The N answers to one prompt, written and scored to their ends; lists in one order.

    step_rewards: of each answer; aggregation: how they become a score
    step_tokens: how many tokens each of its steps has (or another measure of length, the same for all prompts)
    correct: 1 or 0 (or a share between)

    The last two are for `simulate` only.
    """

    step_rewards: Sequence[StepRewards]
    aggregation: str
    step_tokens: Sequence[Sequence[int]] = ()
    correct: Sequence[float] = ()

    @cached_property
    def partial_scores(self) -> list[list[float]]:
        """For each depth from 1 to the last step of the longest, the partial scores of all answers."""
        longest = max([1, *map(len, self.step_rewards)])
        return [
            [partial_score(rewards, depth, self.aggregation) for rewards in self.step_rewards]
            for depth in range(1, longest + 1)
        ]

    def best(self, among: Iterable[int] | None = None) -> int:
        """What best-of-N chooses (of all): rewarded to its end, if any is, best by score and then by `tie_weights`."""
        answers, scores, weights = self.step_rewards, self.partial_scores[-1], tie_weights(self.step_rewards)
        return max(
            range(len(answers)) if among is None else among,
            key=lambda i: (bool(answers[i]) and answers[i][-1] is not None, scores[i], weights[i]),
        )

    @cached_property
    def deficit(self) -> float:
        """S above: how far the answer that best-of-N chooses is ever behind, while it is written; 0 or more."""
        winner = self.best()
        rows = self.partial_scores[: len(self.step_rewards[winner])]
        return max((_below(row[winner], max(row)) for row in rows), default=0.0)

    def stopped_after(self, rule: RejectionRule) -> list[int]:
        """How many steps of each answer are written until the rule stops it; all of them, where it does not."""
        lengths = list(map(len, self.step_rewards))
        alive = list(range(len(lengths)))
        for depth, row in enumerate(self.partial_scores[:-1], start=1):
            for i, kept in zip(list(alive), rule.keeps([row[i] for i in alive]), strict=True):
                if not kept and depth < lengths[i]:
                    lengths[i] = depth
                    alive.remove(i)
        return lengths


def partial_score(rewards: StepRewards, depth: int, aggregation: str) -> float:
    """The aggregate of the first `depth` step rewards, or of as many as there are; -inf where there is none."""
    known = [reward for reward in rewards if reward is not None]
    if any(map(math.isnan, known)):
        raise ValueError("a step's reward is NaN: score the answers again")
    return aggregate(known[:depth], aggregation) if known else -math.inf


def calibrate(prompts: Sequence[ScoredSamples], risk: float) -> RejectionRule:
    """The rule whose risk is `risk`, from prompts with N scored answers each: the threshold is the
    ceil((n + 1)(1 - risk))-th smallest of their deficits.

    Raises ValueError where `risk` is not between 0 and 1, there are fewer prompts than `prompts_needed`, they differ
    in N or have no answers, or a reward is NaN.
    """
    if not 0 < risk < 1:
        raise ValueError(f"the risk is {risk}; give a share above 0 and below 1, such as 0.1")
    n, exact = len(prompts), Fraction(str(risk))
    if n < prompts_needed(risk):
        raise ValueError(
            f"{n} prompts are too few to calibrate a risk of {risk}: the risk of such a calibration may be more than "
            f"twice as large; give at least {prompts_needed(risk)}"
        )
    sizes = sorted({len(prompt.step_rewards) for prompt in prompts})
    if len(sizes) > 1 or 0 in sizes:
        raise ValueError(f"the prompts have {sizes} answers; calibrate on prompts with the same number, at least 1")
    threshold = sorted(prompt.deficit for prompt in prompts)[math.ceil((n + 1) * (1 - exact)) - 1]
    return RejectionRule(threshold, prompts[0].aggregation, sizes[0], risk, n)


def prompts_needed(risk: float) -> int:
    """How many prompts a calibration takes, so that 19 of 20 keep the share of stopped best answers below 2 `risk`."""
    return math.ceil(4 / Fraction(str(risk)))


def simulate(prompts: Sequence[ScoredSamples], rule: RejectionRule) -> dict[str, float]:
    """What `rule` would have saved and cost on answers that are written and scored to the end.

    `tokens_saved` is the share of all tokens that would not have been generated; `winners_lost` the share of prompts
    whose best-of-N answer is stopped; `accuracy_before` that of the answer chosen among all N, and `accuracy_after`
    among those that are not stopped.

    Raises ValueError where there are no prompts, or a prompt has not as many answers as the rule was calibrated for.
    """
    if not prompts:
        raise ValueError("no prompts to simulate early rejection on")
    lost, before, after = [], [], []
    written = total = 0
    for prompt in prompts:
        if len(prompt.step_rewards) != rule.n_answers:
            raise ValueError(
                f"a prompt has {len(prompt.step_rewards)} answers, but the rule was calibrated with {rule.n_answers}"
            )
        lengths, winner = prompt.stopped_after(rule), prompt.best()
        alive = [i for i, rewards in enumerate(prompt.step_rewards) if lengths[i] == len(rewards)]
        lost.append(winner not in alive)
        before.append(prompt.correct[winner])
        after.append(prompt.correct[prompt.best(alive)])
        written += sum(sum(tokens[:length]) for tokens, length in zip(prompt.step_tokens, lengths, strict=True))
        total += sum(map(sum, prompt.step_tokens))
    return {
        "tokens_saved": 1 - written / total if total else 0.0,
        "winners_lost": fmean(lost),
        "accuracy_before": fmean(before),
        "accuracy_after": fmean(after),
    }


def _below(score: float, top: float) -> float:
    """How far, where both may be -inf."""
    return 0.0 if score == top else top - score
