"""Requests to several servers that fail, seen through a generator that makes them."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from openprm.engines import openai_client
from openprm.engines.base import PromptSamples, Sampling
from openprm.engines.openai_generator import ServerGenerator
from openprm.errors import InputError

from .faulty_server import FaultyServer
from .test_openai_generator import QUICK, SAMPLING, assert_complete, batches, sampled


@pytest.mark.parametrize("fault", ["500", "503/0.01", "429", "429/0.01", "half", "drop"])
def test_one_fault_in_five_loses_nothing(fault: str) -> None:
    with FaultyServer(lambda number, _: fault if number % 5 == 2 else "answer") as server:
        found = sampled(ServerGenerator([server.url], "policy", **QUICK, retries=10), 4)
    assert server.faults[fault] >= 4
    assert_complete(found)


@pytest.mark.parametrize("fault", ["500", "429", "nonsense", "shape", "late", "400"])
def test_what_no_retry_mends_is_a_failure_of_that_question_alone(fault: str) -> None:
    def faulty(number: int, request: dict[str, Any]) -> str:
        return fault if request["messages"][-1]["content"] == "q3" else "answer"

    with FaultyServer(faulty) as server:
        server.message = "maximum context length is 8"
        found = sampled(ServerGenerator([server.url], "policy", timeout=2, retries=1), 1)
    failure = found.pop("q3").failure
    assert failure is not None
    assert failure.transient == (fault != "400")
    assert (server.url if failure.transient else server.message) in failure.reason
    assert server.faults[fault] == (2 if fault in ("500", "429") else 1)
    assert_complete(found)


def test_requests_go_to_the_least_busy_server_within_its_bound() -> None:
    def slow(number: int, request: dict[str, Any]) -> str:
        time.sleep(0.02)
        return "answer"

    with FaultyServer(slow) as first, FaultyServer(slow) as second:
        generator = ServerGenerator([first.url, second.url], "policy", concurrency=3)
        assert_complete(sampled(generator, 8))
    assert first.most_in_flight == second.most_in_flight == 3
    assert len(first.requests) + len(second.requests) == 40
    assert min(len(first.requests), len(second.requests)) >= 10


def test_a_server_that_comes_back_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "_LEFT_OUT", 0.1)
    with FaultyServer() as first, FaultyServer() as second:
        generator = ServerGenerator([first.url, second.url], "policy", **QUICK, concurrency=2, retries=0)
        first.down = True
        assert_complete(sampled(generator, 4))
        sent = len(first.requests)
        assert sent <= 8  # left out
        first.down = False
        time.sleep(0.1)
        assert_complete(sampled(generator, 4))
    assert len(first.requests) >= sent + 5


def test_where_all_servers_die_what_was_finished_is_kept() -> None:
    with FaultyServer() as first, FaultyServer() as second:
        for server in (first, second):
            server.behaviour = lambda number, _: "answer" if number < 8 else "drop"
        generator = ServerGenerator([first.url, second.url], "policy", **QUICK, concurrency=2, retries=2)
        run = generator.generate(batches(8), SAMPLING)
        found: dict[str, PromptSamples] = {}
        for batch, answers in run:
            found.update({q[0]["content"]: a for q, a in zip(batch.questions, answers, strict=True)})
    assert len(found) == 40
    finished = {question: answer for question, answer in found.items() if answer.failure is None}
    assert len(finished) == 16
    assert_complete(finished)
    failures = [answer.failure for answer in found.values() if answer.failure is not None]
    assert all(failure.transient for failure in failures)
    assert "no server answers" in {failure.reason for failure in failures}  # said to those that waited


def test_the_key_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    secret = "sk-very-secret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", "elsewhere")
    with FaultyServer(key="none") as server:
        assert_complete(sampled(ServerGenerator([server.url], "policy", key_variable="UNSET_KEY"), 1))
    monkeypatch.setenv("POLICY_KEY", f"{secret}\n")
    with FaultyServer(key=secret) as server:
        assert_complete(sampled(ServerGenerator([server.url], "policy", key_variable="POLICY_KEY"), 1))
    caplog.set_level(logging.DEBUG)
    with FaultyServer(key="another") as server:
        generator = ServerGenerator([server.url], "policy", **QUICK, key_variable="POLICY_KEY")
        with pytest.raises(InputError) as raised:
            sampled(generator, 2)
    told = [str(raised.value), repr(raised.value), repr(generator), repr(generator.__dict__), caplog.text]
    assert not any(secret in text for text in told)
    assert server.url in str(raised.value)
    assert "POLICY_KEY" in str(raised.value)


def test_a_model_that_the_server_does_not_have_ends_the_run() -> None:
    with FaultyServer(lambda *_: "404") as server, pytest.raises(InputError, match="no such model or address"):
        sampled(ServerGenerator([server.url], "policy", **QUICK), 1)


def test_bad_input_is_refused_without_telling_secrets() -> None:
    for servers in ([], "http://host/v1", ["host:8000"], ["http://me:secret@host/v1"], ["http://host/v1?key=secret"]):
        with pytest.raises(InputError) as raised:
            ServerGenerator(servers, "policy")
        assert "secret" not in str(raised.value)
    with FaultyServer() as server, pytest.raises(InputError, match="template"):
        ServerGenerator([server.url], "policy").generate(batches(1), Sampling(chat_template="{{ x }}"))
