from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openprm.engines.base import Batch, PromptSamples, Sampling
from openprm.engines.openai_generator import THINK, ServerGenerator, samples_in
from openprm.errors import InputError

from .faulty_server import FaultyServer

QUICK: dict[str, Any] = {"timeout": 20}
SAMPLING = Sampling(n=4, temperature=1.0, max_new_tokens=8)


def batches(count: int, size: int = 5) -> Iterator[Batch]:
    for index in range(count):
        names = [f"q{index * size + i}" for i in range(size)]
        questions = [[{"role": "user", "content": name}] for name in names]
        yield Batch(index, questions, [100 * (index * size + i) for i in range(size)])  # type: ignore[arg-type]


def sampled(generator: ServerGenerator, count: int, sampling: Sampling = SAMPLING) -> dict[str, PromptSamples]:
    """By question. Each batch comes once, and each question has an answer."""
    found: dict[str, PromptSamples] = {}
    for batch, answers in generator.generate(batches(count), sampling):
        for question, answer in zip(batch.questions, answers, strict=True):
            assert question[0]["content"] not in found
            found[question[0]["content"]] = answer
    assert len(found) == count * 5
    return found


def expected(question: str, n: int = 4) -> list[str]:
    return [f"{question} #{100 * int(question[1:]) + i}" for i in range(n)]


def texts(answer: PromptSamples) -> list[str]:
    return [sample["text"] for sample in answer.samples]


def assert_complete(found: dict[str, PromptSamples]) -> None:
    for question, answer in found.items():
        assert answer.failure is None
        assert texts(answer) == expected(question)


def test_what_is_sent() -> None:
    sampling = Sampling(n=3, temperature=0.7, top_p=0.9, max_new_tokens=7, stop=("\n\n",), system_prompt="Be brief.")
    with FaultyServer() as server:
        [(batch, answers)] = ServerGenerator([server.url], "policy").generate(batches(1, 1), sampling)
    assert server.requests == [
        {
            "model": "policy",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q0"}],
            "n": 3,
            "seed": 0,
            "temperature": 0.7,
            "top_p": 0.9,
            "max_tokens": 7,
            "stop": ["\n\n"],
        }
    ]
    assert batch.index == 0
    assert texts(answers[0]) == ["q0 #0", "q0 #1", "q0 #2"]
    assert answers[0].seed == 0


def test_a_server_that_gives_fewer_is_asked_for_the_rest() -> None:
    with FaultyServer(most=3) as server:
        found = sampled(ServerGenerator([server.url], "policy", **QUICK), 2, Sampling(n=8))
    assert {question: texts(answer) for question, answer in found.items()} == {q: expected(q, 8) for q in found}
    assert sorted(request["n"] for request in server.requests) == [2] * 10 + [5] * 10 + [8] * 10


def test_samples_are_kept_where_the_rest_is_refused() -> None:
    with FaultyServer(lambda number, request: "400" if request["n"] < 4 else "answer", most=3) as server:
        answer = sampled(ServerGenerator([server.url], "policy", **QUICK), 1)["q1"]
    assert texts(answer) == expected("q1", 3)
    assert answer.failure is not None


def test_the_limit_goes_by_the_name_that_the_server_supports(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"error": {"message": "use another", "code": "unsupported_parameter", "param": "max_tokens"}})
    with FaultyServer() as server:
        handler = server._server.RequestHandlerClass
        answer = handler.behave  # type: ignore[attr-defined]

        def behave(self: Any, number: int, request: dict[str, Any]) -> None:
            if "max_tokens" in request:
                return self.send(400, body.encode())
            return answer(self, number, request)

        monkeypatch.setattr(handler, "behave", behave)
        assert_complete(sampled(ServerGenerator([server.url], "policy", **QUICK), 2))
    assert any(request.get("max_completion_tokens") == 8 for request in server.requests)


def test_leaving_early_ends_all_requests() -> None:
    def slow(number: int, request: dict[str, Any]) -> str:
        return "answer" if request["seed"] < 500 else "late"  # the first batch

    with FaultyServer(slow) as server:
        generator = ServerGenerator([server.url], "policy", concurrency=5)
        run = generator.generate(batches(100), SAMPLING)
        next(run)
        run.close()
        generator.close()
        generator.close()
        assert len(server.requests) <= 20


def test_batches_are_taken_as_there_is_room() -> None:
    def counted() -> Iterator[Batch]:
        for batch in batches(12):
            waiting.append(5 * batch.index - len(server.requests))  # questions that the server has not seen yet
            yield batch

    waiting: list[int] = []
    with FaultyServer() as server:
        sampled_batches = ServerGenerator([server.url], "policy", concurrency=10).generate(counted(), SAMPLING)
        assert len([*sampled_batches]) == 12
    assert max(waiting) <= 10


def body(**choice: Any) -> dict[str, Any]:
    whole = {"index": 0, "finish_reason": "stop", "message": {"content": "Yes."}, **choice}
    return {"choices": [whole], "usage": {"completion_tokens": 7}}


def test_what_is_read_of_an_answer() -> None:
    assert samples_in(body()) == [{"text": "Yes.", "n_tokens": 7, "finish_reason": "stop"}]
    assert samples_in(body(message={"content": None}))[0]["text"] == ""
    assert samples_in(body(finish_reason="content_filter"))[0]["finish_reason"] == "content_filter"
    assert samples_in(body(token_ids=[1, 2]))[0]["n_tokens"] == 2
    assert samples_in({**body(), "usage": None})[0]["n_tokens"] is None
    two = {"choices": [body(index=1)["choices"][0], body(message={"content": "No."})["choices"][0]]}
    assert [(sample["text"], sample["n_tokens"]) for sample in samples_in(two)] == [("No.", None), ("Yes.", None)]
    assert samples_in(body(message={"content": "\ud800"}))[0]["text"] == "?"
    for nonsense in (None, [], "text", {}, {"choices": []}, {"choices": None}, {"error": {"message": "overloaded"}}):
        with pytest.raises(ValueError):  # noqa: PT011
            samples_in(nonsense)
    for choice in ({"message": None}, {"message": {"content": 3}}, {"finish_reason": "abort"}):
        with pytest.raises(ValueError):  # noqa: PT011
            samples_in(body(**choice))


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_a_thought_stands_before_the_answer(name: str) -> None:
    def text(content: str | None, option: str = THINK, **choice: Any) -> str:
        return samples_in(body(message={"content": content, name: "\n2 + 2.\n"}, **choice), option)[0]["text"]

    assert text("\n\n4") == "<think>\n2 + 2.\n</think>\n\n4"
    assert text("4") == "<think>\n2 + 2.\n</think>\n\n4"
    assert text(None) == "<think>\n2 + 2.\n</think>"
    assert text(None, finish_reason="length") == "<think>\n2 + 2.\n"
    assert text("4", "Thought: {}\nAnswer:") == "Thought: \n2 + 2.\n\nAnswer:\n\n4"
    assert text("4", "") == "4"
    assert text(None, "", finish_reason="length") == ""
    assert samples_in(body(message={"content": "4", name: None}))[0]["text"] == "4"
    assert samples_in(body(message={"content": None, "refusal": "I will not."}))[0]["text"] == "I will not."


def test_the_place_of_the_thought_is_marked() -> None:
    with pytest.raises(InputError, match=r"mark the place of the thought by \{\}"):
        ServerGenerator(["http://127.0.0.1:1/v1"], "policy", reasoning="keep")


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**16),
    most=st.integers(1, 6),
    fault_rate=st.floats(0, 0.9),
    retries=st.integers(0, 3),
    servers=st.integers(1, 3),
)
def test_every_question_has_its_samples_once_or_a_failure(
    seed: int, most: int, fault_rate: float, retries: int, servers: int
) -> None:
    chance = random.Random(seed)

    def faulty(number: int, request: dict[str, Any]) -> str:
        if chance.random() > fault_rate:
            return "answer"
        return chance.choice(["500", "429/0.001", "nonsense", "shape", "half", "drop", "400"])

    running = [FaultyServer(faulty, most=most) for _ in range(servers)]
    for server in running:
        server.__enter__()
    try:
        urls = [server.url for server in running]
        found = sampled(ServerGenerator(urls, "policy", **QUICK, retries=retries), 3)
    finally:
        for server in running:
            server.__exit__()
    for question, answer in found.items():
        assert texts(answer) == expected(question, len(answer.samples))
        assert (len(answer.samples) == 4) == (answer.failure is None)
