import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openprm.decoding.best_of_n import vote
from openprm.decoding.early_rejection import RejectionRule, ScoredSamples, calibrate
from openprm.decoding.hypotheses import Hypothesis
from openprm.decoding.methods import Method
from openprm.decoding.selection import best_of_n
from openprm.engines.step_requests import PartialResponse
from openprm.scoring.aggregation import AGGREGATIONS, aggregate

from ..injected import Language, Rewards, questions

NAMES = [f"question {i}" for i in range(4)]
aggregations = st.sampled_from(list(AGGREGATIONS))
languages = st.builds(
    Language, letters=st.sampled_from(["a", "ab", "abcdef"]), ending=st.sampled_from([0.2, 0.5]), odd=st.booleans()
)
seeds = st.integers(0, 10_000)


def run(language, rewards, n=4, aggregation="min", seed=0, rule=None, watch=None, names=NAMES):
    numbers = [seed + NAMES.index(name) if name in NAMES else seed for name in names]
    return Method("best-of-n", n, aggregation, rule).run(questions(*names), language, rewards, numbers, watch)


def never(n, aggregation="min"):
    return RejectionRule(math.inf, aggregation, n, 0.1, 9)


def of(text, score):
    return Hypothesis(PartialResponse((text,), (), "stop"), (score,), score)


@given(languages, seeds, st.integers(1, 6), aggregations)
def test_best_of_n(language, seed, n, aggregation):
    rewards, depths = Rewards(), []
    language.calls.clear()
    found = run(language, rewards, n, aggregation, seed, watch=lambda depth, _: depths.append(depth))
    (requests,) = language.calls
    assert [(r.n, r.seed, r.whole) for r in requests] == [(n, seed + i, True) for i in range(4)]
    assert len(rewards.calls) <= 1
    assert depths == [1]
    for name, one, ways in zip(NAMES, found, language(requests), strict=True):
        assert [answer.partial for answer in one.complete] == [way.partial for way in ways]
        for answer in one.complete:
            assert list(answer.step_rewards) == rewards.of(name, answer.partial.steps)
            assert not answer.step_rewards or answer.score == aggregate(answer.step_rewards, aggregation)
        step_rewards = [answer.step_rewards for answer in one.complete]
        assert one.best == one.complete[best_of_n([answer.score for answer in one.complete], step_rewards)]
        assert one.generated_tokens == sum(way.n_tokens for way in ways)
        different = {answer.partial.steps for answer in one.complete}
        assert (one.merged, one.scored_tokens) == (n - len(different), sum(map(len, different)))
        assert (one.stopped, one.depths) == (0, 1)


@given(languages, seeds, st.permutations(NAMES), st.integers(1, 4), st.sampled_from([None, 0.0, 1.0, math.inf]))
def test_a_prompt_is_answered_alike_whatever_stands_beside_it(language, seed, names, n, threshold):
    rule = None if threshold is None else RejectionRule(threshold, "min", 4, 0.1, 9)
    together = dict(zip(NAMES, run(language, Rewards(), seed=seed, rule=rule), strict=True))
    assert run(language, Rewards(), seed=seed, rule=rule, names=names[:n]) == [together[name] for name in names[:n]]


@given(languages, seeds, st.integers(1, 6))
def test_a_rule_that_stops_nothing_samples_n_whole_answers_a_step_at_a_time(language, seed, n):
    rewards, depths = Rewards(), []
    language.calls.clear()
    found = run(language, rewards, n, seed=seed, rule=never(n), watch=lambda depth, _: depths.append(depth))
    assert len(language.calls) == len(depths) == max(one.depths for one in found)
    assert len(rewards.calls) <= len(depths)
    for name, one in zip(NAMES, found, strict=True):
        assert len(one.complete) == n
        assert one.stopped == 0
        assert all(answer.partial.finish_reason == "stop" for answer in one.complete)
        assert all(list(a.step_rewards) == rewards.of(name, a.partial.steps) for a in one.complete)
    # Every step is rewarded once for answers that are alike so far.
    for call in rewards.calls:
        assert len({(p.question[0]["content"], p.steps) for p in call}) == len(call)
    ways = [way for call in list(language.calls) for reply in language(call) for way in reply]
    assert sum(one.generated_tokens for one in found) == sum(way.n_tokens for way in ways)


def test_equal_prefixes_are_extended_independently():
    (found,) = run(Language("a", ending=0.3), Rewards(), n=64, rule=never(64), names=["x"])
    assert len({answer.partial.text for answer in found.complete}) > 3


@given(st.sampled_from(["ab", "abcdef"]), seeds, aggregations, st.sampled_from([0.0, 0.5, 2.0, 5.0]))
def test_live_early_rejection_does_what_is_simulated(letters, seed, aggregation, threshold):
    language = Language(letters, ending=0.3, odd=False)
    rule = RejectionRule(threshold, aggregation, 6, 0.1, 9)
    dropped = Counter()
    whole = run(language, Rewards(), 6, aggregation, seed, never(6, aggregation))
    stopped = run(
        language,
        Rewards(),
        6,
        aggregation,
        seed,
        rule,
        lambda _, prunings: dropped.update({prompt: one.dropped for prompt, one in prunings.items()}),
    )
    for prompt, (before, after) in enumerate(zip(whole, stopped, strict=True)):
        answers = [answer.step_rewards for answer in before.complete]
        lengths = ScoredSamples(answers, aggregation).stopped_after(rule)
        kept = [i for i, rewards in enumerate(answers) if lengths[i] == len(rewards)]
        assert after.complete == tuple(before.complete[i] for i in kept)
        assert after.stopped == 6 - len(kept) == dropped[prompt]
        # A token a step, and one for the end of those that come to it.
        assert after.generated_tokens == sum(lengths) + len(kept)


@given(seeds, aggregations, st.sampled_from([0.1, 0.3]))
@settings(max_examples=30)
def test_live_early_rejection_keeps_to_its_risk(seed, aggregation, risk):
    # Ends that come behind the last step, too, as models give them.
    language, names = Language(ending=0.3), [f"prompt {i}" for i in range(40)]
    whole = run(language, Rewards(), 5, aggregation, seed, never(5, aggregation), names=names)
    scored = [ScoredSamples([answer.step_rewards for answer in one.complete], aggregation) for one in whole]
    rule = calibrate(scored, risk)
    stopped = run(language, Rewards(), 5, aggregation, seed, rule, names=names)
    lost = 0
    for samples, before, after in zip(scored, whole, stopped, strict=True):
        if before.best not in after.complete:
            lost += 1
            assert samples.deficit > rule.threshold
        assert set(after.complete) <= set(before.complete)
    assert lost <= math.floor(risk * 41) - 1


def test_votes_by_hand():
    answers = [of("a", 0.0), of("b", 2.5), of("c", 1.0), of("d", 1.0), of("e", 9.0)]
    labels = ["1", "2", "1", "1", None]
    assert vote(answers, labels) == answers[2]  # the best of those that say 1, and the first of two
    assert vote(answers, labels, unit="strength") == answers[1]  # exp(2.5) against 1 + 2 exp(1)
    assert vote(answers, ["1", "2", "1", "2", None]) == answers[2]
    assert vote(answers, [None] * 5) == answers[4]
    with pytest.raises(ValueError, match="no answers"):
        vote([], [])


def test_what_was_not_rewarded_to_its_end_weighs_nothing():
    cut = Hypothesis(PartialResponse(("a", "b"), (), "stop"), (9.0,), 9.0)
    answers = [cut, of("c", -3.0), Hypothesis(PartialResponse((), (), "stop"))]
    assert vote(answers, ["1", "2", "1"], unit="strength") == answers[1]
    assert vote(answers, ["1", "2", "1"]) == cut
