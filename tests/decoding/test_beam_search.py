import math
from itertools import cycle, groupby, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.decoding.beam_search import BeamSearch, BeamShape
from openprm.decoding.loop import run
from openprm.engines.base import prompt_seed
from openprm.engines.step_requests import Extension, PartialResponse, PrefixRewards, StepRequest
from openprm.errors import Failure
from openprm.scoring.aggregation import AGGREGATIONS, aggregate

from ..injected import Language, Rewards, questions

NAMES = ["x", "y", "z", "w"]
sizes = st.sampled_from([(1, 1, 1), (1, 4, 1), (2, 2, 1), (4, 4, 1), (4, 2, 2), (3, 3, 3), (4, 1, 2)])
shapes = st.builds(lambda size, max_steps: BeamShape(*size, max_steps), sizes, st.integers(1, 8))
aggregations = st.sampled_from(list(AGGREGATIONS))
languages = st.builds(
    Language, letters=st.sampled_from(["a", "ab", "abcdef"]), ending=st.sampled_from([0.1, 0.4, 0.9])
)
seeds = st.integers(0, 10_000)


def search(names, language, rewards, shape, seed=0, watch=None, aggregation="min"):
    asked = zip(questions(*names), names, strict=True)
    searches = [BeamSearch(question, seed + NAMES.index(name), aggregation, shape) for question, name in asked]
    return run(searches, language, rewards, watch)


class Scripted:
    """Extends each text by what `ways` says, in turn and over again: a step, with "." behind it where it ends."""

    def __init__(self, ways: dict[str, list[str]]):
        self.ways = ways

    def __call__(self, requests):
        replies = []
        for request in requests:
            ways = islice(cycle(self.ways[request.partial.text]), request.n)
            replies.append([self.extension(request.partial, way) for way in ways])
        return replies

    def extension(self, partial, way):
        step = way.removesuffix(".")
        return Extension(
            PartialResponse(partial.steps + (step,) * bool(step), (), "stop" if way.endswith(".") else None), 10
        )


def rewarding(by_text):
    """Each text's own reward, one token each."""

    def score(prefixes):
        return [
            PrefixRewards(
                tuple(by_text["".join(p.steps[: i + 1])] for i in range(p.known, len(p.steps))),
                n_tokens=len(p.steps) - p.known,
            )
            for p in prefixes
        ]

    return score


def test_a_search_by_hand():
    language = Scripted({"": ["A", "B.", "C", "A"], "A": ["a", "b"], "Aa": ["x."]})
    score = rewarding({"A": 5.0, "B": 2.0, "C": 1.0, "Aa": 3.0, "Ab": 0.0, "Aax": 2.5})
    # B, finished, keeps its place beside Aa; C and Ab are dropped.
    seen = []
    (found,) = search(["x"], language, score, BeamShape(2, 2), watch=lambda *depth: seen.append(depth))
    assert [depth for depth, _ in seen] == [1, 2, 3]
    prunings = [prunings[0] for _, prunings in seen]
    assert [[a.partial.text for a in one.kept] for one in prunings] == [["A", "B"], ["Aa", "B"], ["Aax", "B"]]
    assert [(one.dropped, one.merged) for one in prunings] == [(1, 1), (1, 0), (0, 1)]
    assert (found.best.partial.text, found.best.step_rewards, found.best.score) == ("Aax", (5.0, 3.0, 2.5), 2.5)
    assert [a.partial.text for a in found.complete] == ["B", "Aax"]
    assert (found.generated_tokens, found.scored_tokens, found.merged, found.depths) == (80, 6, 2, 3)


def test_a_finished_answer_that_loses_its_place_can_still_be_the_best():
    language = Scripted({"": ["A.", "B"], "B": ["a.", "b."]})
    score = rewarding({"A": 1.0, "B": 2.0, "Ba": 0.0, "Bb": -1.0})
    kept = []
    (found,) = search(["x"], language, score, BeamShape(1, 2), watch=lambda _, prunings: kept.append(prunings[0].kept))
    assert [[a.partial.text for a in k] for k in kept] == [["B"], ["Ba"]]
    assert found.best.partial.text == "A"


def test_an_empty_answer_ranks_last():
    score = rewarding({"A": -9.0})
    (found,) = search(["x"], Scripted({"": [".", "A."]}), score, BeamShape(2, 1))
    assert [a.partial.text for a in found.complete] == ["", "A"]
    assert found.best.partial.text == "A"
    (found,) = search(["x"], Scripted({"": ["."]}), score, BeamShape(1, 1))
    assert (found.best.partial.text, found.best.score, found.scored_tokens) == ("", -math.inf, 0)


def reference(name, language, rewards, shape, aggregation, group_seed):
    """One sub-beam of one prompt, written without haste: what the paper's section 3.3 says."""
    size = shape.beam // shape.groups
    open_, finished, complete = [PartialResponse()], [], []

    def best_first(partials):
        all_rewards = [tuple(rewards.of(name, partial.steps)) for partial in partials]

        def value(i):
            r = all_rewards[i]  # by score, then by exp(last reward), summed over those that are rewarded alike
            return (True, aggregate(r, aggregation), r[-1] + math.log(all_rewards.count(r))) if r else (False,)

        return [partials[i] for i in sorted(range(len(partials)), key=value, reverse=True)]

    for depth in range(shape.max_steps):
        new = []
        for partial in open_:
            n = shape.expand * (size if depth == 0 else 1)
            request = StepRequest(questions(name)[0], partial, n, prompt_seed(*group_seed(partial)))
            for way in language([request])[0]:
                same = [p for p in new + complete if (p.text, p.finished) == (way.partial.text, way.partial.finished)]
                if not same:
                    new.append(way.partial)
        complete += [p for p in new if p.finished]
        kept = best_first(finished + new)[:size]
        open_, finished = [p for p in kept if not p.finished], [p for p in kept if p.finished]
        if not open_:
            break
    complete += [PartialResponse(p.steps, p.tokens, "length") for p in open_]
    return complete


@given(shapes, languages, seeds, aggregations)
def test_each_sub_beam_is_what_it_would_be_alone(shape, language, seed, aggregation):
    rewards = Rewards()
    together = search(NAMES, language, rewards, shape, seed, aggregation=aggregation)
    for name, found in zip(NAMES, together, strict=True):
        complete = []
        for group in range(shape.groups):
            own = seed + NAMES.index(name)
            complete += reference(
                name, language, rewards, shape, aggregation, lambda p, g=group, s=own: (s, f"{g}\0{p.text}")
            )
        assert [answer.partial for answer in found.complete] == complete
        assert found.best in found.complete
        assert found.best.rank == max(answer.rank for answer in found.complete)
        for answer in found.complete:
            assert list(answer.step_rewards) == rewards.of(name, answer.partial.steps)


@given(shapes, languages, seeds, st.permutations(NAMES), st.integers(1, 4))
def test_a_prompt_is_answered_alike_whatever_stands_beside_it(shape, language, seed, names, n):
    together = dict(zip(NAMES, search(NAMES, language, Rewards(), shape, seed), strict=True))
    assert search(names[:n], language, Rewards(), shape, seed) == [together[name] for name in names[:n]]


@given(shapes, languages, seeds)
def test_calls_and_budget(shape, language, seed):
    rewards, depths = Rewards(), []
    language.calls.clear()
    found = search(NAMES, language, rewards, shape, seed, lambda _, prunings: depths.append(prunings))
    # One call a depth, and never more than one to reward it.
    assert len(language.calls) == len(depths) == max(f.depths for f in found) <= shape.max_steps
    assert len(rewards.calls) <= len(depths)
    finished = dict.fromkeys(range(len(NAMES)), 0)
    for number, (call, prunings) in enumerate(zip(language.calls, depths, strict=True)):
        asked = {
            NAMES.index(name): sum(request.n for request in group)
            for name, group in groupby(call, lambda request: request.question[0]["content"])
        }
        assert asked.keys() == prunings.keys()
        for prompt, decision in prunings.items():
            assert asked[prompt] <= shape.width
            assert asked[prompt] == shape.width or number > 0
            assert len(decision.kept) <= shape.beam  # none where all were found before
            if shape.groups == 1:  # what was finished and what was generated is kept, dropped or merged
                left = len(decision.kept) + decision.dropped + decision.merged
                assert left == finished[prompt] + asked[prompt]
            finished[prompt] = sum(answer.partial.finished for answer in decision.kept)
    for call in rewards.calls:
        prefixes = [(prefix.question[0]["content"], prefix.steps) for prefix in call]
        assert len(prefixes) == len(set(prefixes)), "nothing is rewarded twice"
    assert sum(f.scored_tokens for f in found) == sum(len(prefix.steps) for call in rewards.calls for prefix in call)
    replies = [reply for call in list(language.calls) for reply in language(call)]
    assert sum(f.generated_tokens for f in found) == sum(way.n_tokens for reply in replies for way in reply)


@given(shapes, languages, seeds)
def test_a_finished_answer_gives_its_place_only_to_better_ones(shape, language, seed):
    shape = BeamShape(shape.beam, shape.expand)
    depths = []
    found = search(NAMES, language, Rewards(), shape, seed, lambda _, prunings: depths.append(prunings))
    for prompt, result in enumerate(found):
        kept = [prunings[prompt].kept for prunings in depths if prompt in prunings]
        for before, after in zip(kept, kept[1:], strict=False):
            for answer in before:
                if answer.partial.finished and answer not in after:
                    assert len(after) == shape.beam
                    assert all(other.rank >= answer.rank for other in after if other not in before)
        for answers in kept:
            assert {a.partial for a in answers if a.partial.finished} <= {a.partial for a in result.complete}
            texts = [(a.partial.text, a.partial.finished) for a in answers]
            assert len(texts) == len(set(texts))
        texts = [a.partial.text for a in result.complete if a.partial.finish_reason == "stop"]
        assert len(texts) == len(set(texts))


def test_what_does_not_fit_into_the_reward_model_ranks_last():
    language = Scripted({"": ["A", "B."], "A": ["a.", "b."]})

    def score(prefixes):  # two steps do not fit
        return [
            PrefixRewards({"A": (5.0,), "B": (-5.0,)}.get(p.steps[0], ()) if p.known == 0 else (), 1) for p in prefixes
        ]

    (found,) = search(["x"], language, score, BeamShape(2, 1))
    assert found.best.partial.text == "B"
    # Where none fits, the search goes on without rewards, and the score is made of those before.
    (found,) = search(["x"], Language(ending=0.2), Rewards(max_steps=1), BeamShape(1, 1, max_steps=9), seed=4)
    assert len(found.best.partial.steps) > len(found.best.step_rewards) == 1
    assert found.best.score == found.best.step_rewards[0]


@pytest.mark.parametrize("transient", [True, False])
def test_rewards_that_fail(transient):
    failure = Failure("no answer", "look at the server", transient)
    language = Scripted({"": ["A", "B."], "A": ["a.", "b."]})
    by_text = {"A": 5.0, "B": -5.0, "Aa": 1.0, "Ab": 1.0}

    def failing(*texts):
        score = rewarding(by_text)
        return lambda prefixes: [failure if "".join(p.steps) in texts else score([p])[0] for p in prefixes]

    def found(*texts):
        return search(["x"], language, failing(*texts), BeamShape(2, 2))[0]

    assert found("A", "B") == failure  # nothing has a reward
    if transient:
        assert found("Aa") == found("A") == failure
    else:
        assert found("Aa").best.partial.text == "Ab"
        assert found("Aa", "Ab").best.partial.text == "B"
        assert found("A").best.partial.text == "B"


@pytest.mark.parametrize(
    ("n", "diverse", "shape", "width"),
    [(1, False, (1, 1, 1), 1), (16, False, (4, 4, 1), 16), (16, True, (4, 4, 4), 16), (18, False, (4, 4, 1), 16),
     (8, False, (2, 4, 1), 8), (2, True, (1, 2, 1), 2)],
)  # fmt: skip
def test_the_shape_for_a_budget(n, diverse, shape, width):
    assert BeamShape.for_budget(n, diverse) == BeamShape(*shape)
    assert BeamShape(*shape).width == width
