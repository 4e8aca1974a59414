import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.decoding.early_rejection import (
    RejectionRule,
    ScoredSamples,
    calibrate,
    prompts_needed,
    simulate,
)
from openprm.decoding.selection import tie_weights
from openprm.scoring.aggregation import AGGREGATIONS, aggregate

# Few distinct values, so that ties are common; some answers are empty, or too long for the reward model.
answer = st.tuples(
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]), max_size=5), st.sampled_from([0, 0, 0, 1, 2])
).map(lambda parts: [*parts[0], *[None] * parts[1]])
prompt = st.lists(answer, min_size=3, max_size=3)
aggregations = st.sampled_from(list(AGGREGATIONS))

#: At depth 1 the winner (the second, by min) is 2 behind; at depth 2 the first is finished.
ANSWERS = [[3.0, -1.0], [1.0, 1.0, 0.0], [-5.0, 4.0]]


def drawn(answers, correct=(0.0, 1.0, 0.0)):
    return ScoredSamples(answers, "min", [[10] * len(rewards) for rewards in answers], correct)


def deficit(answers, aggregation):
    return ScoredSamples(answers, aggregation).deficit


def stopped_after(answers, rule):
    return ScoredSamples(answers, rule.aggregation).stopped_after(rule)


def calibrated(prompts, aggregation, risk):
    return calibrate([ScoredSamples(answers, aggregation) for answers in prompts], risk)


def winner(answers, aggregation):
    """The answer that best-of-N chooses: of the highest score among those that were scored to the end."""

    def rank(i):
        known = [reward for reward in answers[i] if reward is not None]
        whole = 0 < len(known) == len(answers[i])
        return whole, aggregate(known, aggregation) if known else -math.inf, tie_weights(answers)[i]

    return max(range(len(answers)), key=rank)


def loses_its_winner(answers, rule):
    chosen = winner(answers, rule.aggregation)
    return stopped_after(answers, rule)[chosen] < len(answers[chosen])


def test_the_deficit_of_the_winner_by_hand():
    assert deficit(ANSWERS, "min") == 2.0
    assert deficit(ANSWERS, "last") == 8.0  # the third wins, and is 8 behind at depth 1
    assert deficit([[], []], "min") == 0.0
    # Once the winner is written, others may be ahead of it for a while: that does not count.
    assert deficit([[1.0], [1.0, 5.0, -9.0]], "mean") == 0.0


def test_a_rule_by_hand():
    assert stopped_after(ANSWERS, RejectionRule(2.0, "min", 3, 0.1, 9)) == [2, 3, 1]
    assert stopped_after(ANSWERS, RejectionRule(1.9, "min", 3, 0.1, 9)) == [2, 1, 1]
    assert stopped_after(ANSWERS, RejectionRule(math.inf, "min", 3, 0.1, 9)) == [2, 3, 2]
    assert RejectionRule(1.0, "min", 3, 0.1, 9).keeps([0.0, 1.0, -math.inf, -0.1]) == [True, True, False, False]
    assert RejectionRule(1.0, "min", 2, 0.1, 9).keeps([-math.inf] * 2) == [True, True]


def test_what_is_saved_and_lost_by_hand():
    prompts = [drawn(ANSWERS), drawn([[0.0, 1.0]] * 3, (1.0, 0.0, 0.0))]
    strict, loose = RejectionRule(1.9, "min", 3, 0.1, 9), RejectionRule(2.0, "min", 3, 0.1, 9)
    names = ("tokens_saved", "winners_lost", "accuracy_before", "accuracy_after")
    assert simulate(prompts, loose) == pytest.approx(dict(zip(names, (1 / 13, 0.0, 1.0, 1.0), strict=True)))
    assert simulate(prompts, strict) == pytest.approx(dict(zip(names, (3 / 13, 0.5, 1.0, 0.5), strict=True)))
    assert simulate([drawn([[], [], []])], loose)["tokens_saved"] == 0


def test_an_answer_that_was_not_scored_to_its_end_does_not_win():
    answers = [[5.0, 5.0, None], [0.0, -1.0], [0.0, -2.0]]
    assert deficit(answers, "min") == 6.0
    assert simulate([drawn(answers)], RejectionRule(math.inf, "min", 3, 0.1, 9))["accuracy_after"] == 1.0


@given(st.lists(prompt, min_size=4, max_size=22), aggregations, st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]))
def test_the_risk_holds_when_each_prompt_in_turn_is_the_new_one(prompts, aggregation, risk):
    # Exchangeability, spelled out: of n + 1 prompts each is equally likely to be the one not calibrated on. So the
    # promise is that at most risk * (n + 1) of them lose their winner to the rule made of the others.
    if len(prompts) - 1 < prompts_needed(risk):
        with pytest.raises(ValueError, match="too few"):
            calibrated(prompts[1:], aggregation, risk)
        return
    lost = [
        loses_its_winner(one, calibrated(prompts[:i] + prompts[i + 1 :], aggregation, risk))
        for i, one in enumerate(prompts)
    ]
    assert sum(lost) <= risk * len(prompts)


@given(prompt, aggregations, st.floats(0, 4))
def test_a_winner_is_stopped_only_where_its_deficit_is_above_the_threshold(answers, aggregation, threshold):
    rule = RejectionRule(threshold, aggregation, 3, 0.1, 9)
    lengths = stopped_after(answers, rule)
    assert not loses_its_winner(answers, rule) or deficit(answers, aggregation) > threshold
    assert all(1 <= length <= len(rewards) for length, rewards in zip(lengths, answers, strict=True) if rewards)
    assert any(length == len(rewards) for length, rewards in zip(lengths, answers, strict=True))


@pytest.mark.parametrize(("risk", "needed"), [(0.1, 40), (0.05, 80), (0.01, 400), (0.5, 8), (0.3, 14)])
def test_how_many_prompts_a_risk_needs(risk, needed):
    calibrated([ANSWERS] * needed, "min", risk)
    with pytest.raises(ValueError, match=f"{needed - 1} prompts are too few .* at least {needed}"):
        calibrated([ANSWERS] * (needed - 1), "min", risk)


@pytest.mark.parametrize("risk", [0.01, 0.05, 0.1, 0.2])
def test_of_20_calibrations_one_may_have_twice_the_risk(risk):
    """The share that a calibration loses is above x as often as of n uniform numbers at most n - k are below x."""

    def twice(n):
        above = n - math.ceil((n + 1) * (1 - Fraction(str(risk))))
        return sum(math.comb(n, i) * (2 * risk) ** i * (1 - 2 * risk) ** (n - i) for i in range(above + 1))

    needed = prompts_needed(risk)
    assert max(map(twice, range(needed, 2 * needed))) < 0.05
    # as few as (1 - risk) / risk prompts hold the average too, but not the single calibration
    assert twice(math.ceil(1 / risk) - 1) > 0.1


def test_the_threshold_is_the_stated_order_statistic():
    prompts = [[[float(gap), 0.0], [0.0, 0.5]] for gap in range(1, 100)]  # the second wins, `gap` behind
    assert calibrated(prompts, "last", 0.05).threshold == 95
    assert calibrated(prompts, "last", 0.1).threshold == 90
    assert calibrated(prompts, "last", 0.5).threshold == 50


@pytest.mark.parametrize(
    ("prompts", "risk", "message"),
    [
        ([ANSWERS] * 9, 0.0, "the risk is 0.0"),
        ([ANSWERS] * 9, 1.0, "the risk is 1.0"),
        ([], 0.1, "0 prompts are too few"),
        ([ANSWERS] * 39 + [ANSWERS[:2]], 0.1, r"have \[2, 3\] answers"),
        ([[]] * 40, 0.1, r"have \[0\] answers"),
        ([[[math.nan], [1.0]]] * 40, 0.1, "NaN"),
    ],
)
def test_what_cannot_be_calibrated(prompts, risk, message):
    with pytest.raises(ValueError, match=message):
        calibrated(prompts, "min", risk)


def test_what_cannot_be_simulated():
    rule = RejectionRule(1.0, "min", 3, 0.1, 9)
    with pytest.raises(ValueError, match="no prompts"):
        simulate([], rule)
    with pytest.raises(ValueError, match="2 answers, but the rule was calibrated with 3"):
        simulate([drawn(ANSWERS[:2])], rule)
