from __future__ import annotations

import pickle
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.engines.base import Sample
from openprm.errors import InputError
from openprm.rewards.base import RewardBatch, RewardResult
from openprm.rewards.llm_judge import UNPARSABLE_JUDGEMENT, Judge, material, verdict

from ..engines.faulty_server import FaultyServer, reliable
from .outcomes import candidate


class JudgingServer(FaultyServer):
    """Its n-th judgement of a material is `judge(material, n)`."""

    def __init__(self, judge: Callable[[str, int], str], behaviour: Any = reliable) -> None:
        super().__init__(behaviour)
        self.judge = judge

    def completion(self, request: dict[str, Any]) -> dict[str, Any]:
        whole = super().completion(request)
        for n, choice in enumerate(whole["choices"]):
            choice["message"]["content"] = self.judge(request["messages"][-1]["content"], n)
        return whole


def outcomes(judge: Judge, *responses: str) -> list[RewardResult]:
    batch = RewardBatch(3, [candidate(response, index=index) for index, response in enumerate(responses)])
    reported: list[float] = []
    [(same, found)] = list(judge.rewards([batch], lambda rows, tokens: reported.append(rows)))
    assert same is batch
    assert sum(reported) == len(found) or any(outcome.failure for outcome in found), "responses, not judgements"
    return found


def test_a_judgement_becomes_a_reward() -> None:
    with JudgingServer(lambda shown, n: f"Fine.\n\nVerdict: {9 if 'four' in shown else 2}\n") as server:
        found = outcomes(Judge([server.url], "wise", name="quality"), "It is four.", "It is five.")
    assert [outcome.reward for outcome in found] == [
        {"name": "quality", "value": 9.0, "std": None, "n_judgements": 1},
        {"name": "quality", "value": 2.0, "std": None, "n_judgements": 1},
    ]
    request = server.requests[0]
    assert (request["n"], request["temperature"], request["model"]) == (1, 0.0, "wise")
    assert "from 1 (worst) to 10 (best)" in request["messages"][0]["content"]
    assert "Truthfulness" in request["messages"][0]["content"]


def test_several_judgements_become_their_mean_and_deviation() -> None:
    said = ["Verdict: 4", "Hm.", "Verdict: 7", "Verdict: 11"]
    with JudgingServer(lambda shown, n: said[n]) as server:
        [found] = outcomes(Judge([server.url], "wise", k=4, rubric="Only {brevity} counts."), "Four.")
    assert found.failure is None
    assert found.reward == {"name": "judge:wise", "value": 5.5, "std": statistics.stdev([4, 7]), "n_judgements": 2}
    assert found.marks == (UNPARSABLE_JUDGEMENT,)
    assert "Only {brevity} counts." in server.requests[0]["messages"][0]["content"]
    assert "Truthfulness" not in server.requests[0]["messages"][0]["content"]
    assert server.requests[0]["temperature"] == 1.0


def test_where_no_judgement_can_be_read_there_is_no_reward() -> None:
    with JudgingServer(lambda shown, n: "I would say 7 of 10.") as server:
        [found] = outcomes(Judge([server.url], "wise", k=2), "Four.")
    assert found.reward is None
    assert found.failure is not None
    assert not found.failure.transient
    assert found.marks == (UNPARSABLE_JUDGEMENT,)


def test_a_refused_or_dead_request_is_a_failure_of_that_candidate() -> None:
    def behaviour(number: int, request: dict[str, Any]) -> str:
        shown = request["messages"][-1]["content"]
        return "400" if "long" in shown else "500" if "unlucky" in shown else "answer"

    with JudgingServer(lambda shown, n: "Verdict: 5", behaviour) as server:
        found = outcomes(Judge([server.url], "wise", retries=1), "too long", "unlucky", "Four.")
    assert [outcome.failure and outcome.failure.transient for outcome in found] == [False, True, None]


def test_seeds_depend_on_what_is_judged_alone() -> None:
    with JudgingServer(lambda shown, n: "Verdict: 5") as server:
        outcomes(Judge([server.url], "wise"), "Four.", "Five.")
        outcomes(Judge([server.url], "wise"), "Six.", "Four.")
        outcomes(Judge([server.url], "wise", seed=1), "Four.")
    seeds = [request["seed"] for request in server.requests if "Four." in request["messages"][-1]["content"]]
    assert seeds[0] == seeds[1] != seeds[2]


def test_the_manifest_tells_the_prompt_and_no_address() -> None:
    judge = Judge(["http://some-host:8000/v1"], "wise", rubric="Brevity.", k=2, scale=(0, 5))
    described = judge.describe()
    assert "some-host" not in repr(described)
    assert "Brevity." in described["prompt"]
    assert (described["judge"], described["k"], described["scale"]) == ("wise", 2, [0, 5])
    assert pickle.loads(pickle.dumps(judge)).describe() == described


def test_bad_parameters_are_refused() -> None:
    for wrong in ({"scale": (5, 5)}, {"scale": (-1, 5)}, {"rubric": " "}, {"k": 0}, {"k": 2, "temperature": 0.0}):
        with pytest.raises(InputError):
            Judge(["http://host/v1"], "wise", **wrong)  # type: ignore[arg-type]


def said(text: str, finish_reason: str = "stop") -> Sample:
    return {"text": text, "n_tokens": 3, "finish_reason": finish_reason}


@pytest.mark.parametrize("text", ["Verdict: 7", "Good.\nVerdict: 7\n \n", "No Verdict: 3.\n  Verdict: 7"])
def test_a_verdict_is_read(text: str) -> None:
    assert verdict(said(text), (1, 10)) == 7


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "Verdict: 0",
        "Verdict: 11",
        "Verdict: 7.5",
        "Verdict: -7",
        "Verdict: 7/10",
        "Verdict: N",
        "Verdict: ٧",
        "**Verdict: 7**",
        "Verdict: 7\nIt is good.",
        "Verdict: 7\nVerdict: 7",
        "Verdict: 2\nNo.\nVerdict: 7",
        "My verdict: 7",
    ],
)
def test_what_is_no_verdict_is_not_read(text: str) -> None:
    assert verdict(said(text), (1, 10)) is None


def test_a_judgement_that_was_cut_is_not_read() -> None:
    assert verdict(said("Verdict: 1", "length"), (1, 10)) is None


@given(question=st.text(max_size=80), response=st.text(max_size=80), reply=st.text(max_size=80))
def test_no_response_can_end_its_quotation(question: str, response: str, reply: str) -> None:
    shown = material(candidate(response, question=question))
    boundary = shown.split("\n", 1)[0].split(" ")[2]
    assert shown.count(boundary) == 4
    assert f"=== response {boundary} ===\n{response}\n=== response {boundary} ===" in shown
    # Nor can what it is told by one material help it in the next one: another text, another boundary.
    again = material(candidate(response + boundary + reply, question=question))
    assert again.split("\n", 1)[0].split(" ")[2] != boundary
