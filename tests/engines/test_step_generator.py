"""Extending answers step by step: with transformers here; with vLLM in test_vllm_step_generator.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from openprm.engines.base import Sampling
from openprm.engines.specs import GeneratorSpec
from openprm.engines.step_generator import StepGenerator, complete_steps, is_stop
from openprm.engines.step_requests import Extension, PartialResponse, StepRequest
from openprm.engines.transformers_generator import TransformersGenerator
from openprm.errors import Failure, InputError
from openprm.presets import toy_domain as tiny
from openprm.schema import Message
from openprm.scoring.steps import split

from .test_transformers_generator import TEMPLATE, greedy, make_model, make_tokenizer, scripted

SEPARATORS = [".\n", "line", "sentence", "paragraph", "re:[;,]", "\n\n", " ", "e"]
DIALS: list[list[Message]] = [[{"role": "user", "content": dial.question}] for dial in tiny.dials(6, 3, "test")]


@pytest.fixture(scope="module")
def policy(policy: Path) -> TransformersGenerator:
    return TransformersGenerator.load(str(policy))


@pytest.fixture(scope="module")
def noise() -> TransformersGenerator:
    """Random weights over bytes: characters in pieces, separators anywhere, hardly an end."""
    tokenizer = make_tokenizer()
    return TransformersGenerator(make_model(tokenizer), tokenizer)


def step_by_step(
    step_generator: StepGenerator, questions: list[list[Message]], seed: int = 0
) -> list[list[Extension]]:
    """The extensions that each question's answer is made of; every one checked on the way."""
    found: list[list[Extension]] = [[] for _ in questions]
    while open_ := [index for index, some in enumerate(found) if not (some and some[-1].partial.finished)]:
        before = [found[index][-1].partial if found[index] else PartialResponse() for index in open_]
        requests = [StepRequest(questions[i], start, 1, seed) for i, start in zip(open_, before, strict=True)]
        for index, start, ways in zip(open_, before, step_generator(requests), strict=True):
            assert not isinstance(ways, Failure)
            (way,) = ways
            after = way.partial
            assert after.tokens[: len(start.tokens)] == start.tokens
            assert way.n_tokens == len(after.tokens) - len(start.tokens)
            assert after.finished or (
                len(after.steps) > len(start.steps) and after.steps[: len(start.steps)] == start.steps
            )
            found[index].append(way)
    return found


def wholes(
    generator: TransformersGenerator, questions: list[list[Message]], sampling: Sampling
) -> list[tuple[str, int, str]]:
    samples = [answers.samples[0] for answers in generator.sample(questions, sampling, [0] * len(questions))]
    return [(sample["text"], sample["n_tokens"] or 0, sample["finish_reason"]) for sample in samples]


# ---- Where steps end ----


@pytest.mark.parametrize("separator", SEPARATORS)
@given(st.text(alphabet='ab1.!。」\n ;,e`A"', max_size=40), st.integers(0, 40))
@example("a.\n\n\nb", 3)
@example("Dr. A. b.\n1. c.", 9)
@example("a. ```b. c``` d. e", 8)
def test_complete_steps_stay_what_they_are(separator: str, text: str, cut: int):
    """Whatever follows; but for white space at the very end, which joins the last step."""
    steps = complete_steps(text[:cut], separator)
    assert complete_steps(text, separator)[: len(steps)] == steps
    whole = split(text, separator)
    assert [step.rstrip() for step in whole[: len(steps)]] == [step.rstrip() for step in steps]
    assert whole[: len(steps)][:-1] == steps[:-1]


def test_a_stop_completes_a_step_at_once_and_a_pattern_when_something_follows():
    assert [separator for separator in SEPARATORS if is_stop(separator)] == [".\n", "e"]
    assert complete_steps("One.\n", ".\n") == ["One.\n"]
    assert complete_steps("One.\nTwo", ".\n") == ["One.\n"]
    assert complete_steps("One. ", "sentence") == []
    assert complete_steps("One. T", "sentence") == ["One. "]
    assert complete_steps("一。\ufffd", "sentence") == []  # the bytes of a closing quote, perhaps
    assert complete_steps("", ".\n") == complete_steps(" ", ".\n") == []


# ---- Samples ----


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("fixture", ["policy", "noise"])
def test_greedy_steps_make_the_greedy_answer(fixture: str, separator: str, request: pytest.FixtureRequest):
    """Also where characters come in pieces and tokens reach beyond a step."""
    generator = request.getfixturevalue(fixture)
    sampling = greedy(60)
    found = step_by_step(StepGenerator(generator, separator, sampling), DIALS)
    for some, (text, n_tokens, reason) in zip(found, wholes(generator, DIALS, sampling), strict=True):
        last = some[-1].partial
        assert (last.text, sum(way.n_tokens for way in some), last.finish_reason) == (text, n_tokens, reason)
        assert list(last.steps) == split(text, separator)
    assert max(map(len, found)) > 1 or fixture == "noise" or separator in ("paragraph", "\n\n", "re:[;,]")


@pytest.mark.parametrize(
    ("added", "texts", "n_tokens"),
    [
        # what a token holds of the next step is not lost, and completes it in turn
        (["a.\nb", ".\nc.\n"], ["xa.\n", "xa.\nb.\nc.\n", "xa.\nb.\nc.\nde"], [2, 1, 3]),
        # a separator in two tokens, behind one that begins it
        ([".\nb."], ["a.\n", "a.\nb.\n", "a.\nb.\nc"], [2, 1, 2]),
        # white space at the end joins the last step
        ([], ["a.\n", "a.\n \t"], [3, 3]),
    ],
)
def test_steps_that_end_within_tokens(added: list[str], texts: list[str], n_tokens: list[int]):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(added)
    (found,) = step_by_step(StepGenerator(scripted(tokenizer, f"{texts[-1]}<eot>"), ".\n", greedy(20)), [DIALS[0]])
    assert [list(way.partial.steps) for way in found] == [split(text, ".\n") for text in texts]
    assert [way.n_tokens for way in found] == n_tokens
    assert found[-1].partial.finish_reason == "stop"


def test_whole_answers_and_steps_in_one_call(policy: TransformersGenerator):
    sampling = greedy(48)
    step_generator = StepGenerator(policy, ".\n", sampling)
    first, second = wholes(policy, DIALS[:2], sampling)
    (start,), (whole,) = step_generator(
        [StepRequest(DIALS[0], PartialResponse(), 1, 0), StepRequest(DIALS[1], PartialResponse(), 1, 0, whole=True)]
    )
    assert (whole.partial.text, whole.n_tokens, whole.partial.finish_reason) == second
    assert len(start.partial.steps) == 1
    ((rest,),) = step_generator([StepRequest(DIALS[0], start.partial, 1, 0, whole=True)])
    assert (rest.partial.text, start.n_tokens + rest.n_tokens, rest.partial.finish_reason) == first


def test_samples_come_from_the_first_requests_seed_and_leave_the_callers_state(policy: TransformersGenerator):
    step_generator = StepGenerator(policy, ".\n", Sampling(temperature=1.0, max_new_tokens=48))

    def drawn(seed: int) -> list[list[Extension] | Failure]:
        return step_generator([StepRequest(question, PartialResponse(), 4, seed) for question in DIALS])

    before = torch.get_rng_state()
    first = drawn(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert drawn(1) == first != drawn(2)
    assert [len(ways) for ways in first if not isinstance(ways, Failure)] == [4] * len(DIALS)
    assert len({way.partial.tokens for ways in first if not isinstance(ways, Failure) for way in ways}) > len(DIALS)


# ---- Limits ----


def test_an_answer_ends_at_max_new_tokens_wherever_its_steps_end(policy: TransformersGenerator):
    for limit in (1, 7, 12):
        sampling = greedy(limit)
        found = step_by_step(StepGenerator(policy, ".\n", sampling), DIALS[:2])
        for some, whole in zip(found, wholes(policy, DIALS[:2], sampling), strict=True):
            last = some[-1].partial
            assert (last.text, len(last.tokens), last.finish_reason) == whole


def test_the_models_context():
    generator = scripted(make_tokenizer(), "ab.\ncda")  # without end; the context is 128
    fits, nearly, over = ([Message(role="user", content="x" * size)] for size in (1, 100, 200))
    step_generator = StepGenerator(generator, ".\n", greedy(40))
    failed, good = step_generator([StepRequest(question, PartialResponse(), 2, 0) for question in (over, fits)])
    assert isinstance(failed, Failure)
    assert not failed.transient
    assert "128" in failed.reason
    assert len(good) == 2  # type: ignore[arg-type]
    found = step_by_step(step_generator, [fits, nearly])
    assert [some[-1].partial.finish_reason for some in found] == ["length", "length"]
    assert len(found[0][-1].partial.tokens) == 40
    assert 0 < len(found[1][-1].partial.tokens) < 28
    ((way, twin),) = step_generator(
        [StepRequest(fits, PartialResponse(("ab.\n",), tuple(found[0][-1].partial.tokens)), 2, 0)]
    )
    assert way == twin
    assert (way.n_tokens, way.partial) == (0, found[0][-1].partial)


# ---- Errors ----


def test_what_it_does_not_take(policy: TransformersGenerator, tmp_path: Path):
    with pytest.raises(InputError, match="leave the stop texts out"):
        StepGenerator(policy, ".\n", greedy(8, stop=("x",)))
    with pytest.raises(ValueError, match="not a regular expression"):
        StepGenerator(policy, "re:(", greedy(8))
    with pytest.raises(InputError, match="servers cannot continue"):
        StepGenerator.load(GeneratorSpec("m", "server", servers=("http://localhost:1/v1",)), ".\n", greedy(8))
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    generator = TransformersGenerator(make_model(tokenizer), tokenizer)
    with pytest.raises(InputError, match="no chat template"):
        StepGenerator(generator, ".\n", greedy(8))
    assert StepGenerator(generator, ".\n", greedy(8, chat_template=TEMPLATE))([]) == []


@pytest.mark.parametrize("special", [False, True])
def test_a_prompt_with_a_token_that_has_no_embedding_is_a_failure_of_its_own(special: bool):
    added = make_tokenizer()
    added.add_tokens(["<new>"], special_tokens=special)
    generator = TransformersGenerator(make_model(make_tokenizer()), added)
    template = TEMPLATE + "{% if 'new' in messages[0].content %}<new>{% endif %}"  # a question's text may be no token
    questions: list[list[Message]] = [[{"role": "user", "content": text}] for text in ("Hi", "A new one")]
    first, second = generator.sample(questions, greedy(4, chat_template=template), [0, 0])
    assert len(first.samples) == 1
    assert "'<new>' is token 260 of the tokenizer, and the model has embeddings for 260" in second.failure.reason
    steps = StepGenerator(generator, "line", greedy(4, chat_template=template))
    (ways,), failure = steps([StepRequest(question, PartialResponse(), 1, 0) for question in questions])
    assert ways.n_tokens
    assert failure == second.failure
