"""What a value may be, and what is said of one that is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.data.values import (
    as_record,
    option_lines,
    question_id,
    to_count,
    to_id,
    to_index,
    to_messages,
    to_response,
    to_reward,
    to_text,
)
from openprm.errors import Failure
from openprm.schema import plain_reward
from tests.folders import candidate

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "2 + 2?"},
]
ANSWER = [{"role": "assistant", "content": "4"}]


@pytest.mark.parametrize(
    ("value", "reward"),
    [(2, 2.0), (True, 1.0), ("0.5", 0.5), (" -1e3 ", -1000.0), ("True", 1.0), ("Rejected", 0.0), ("tie", 0.5)],
)
def test_rewards_as_numbers_booleans_and_words(value, reward):
    assert to_reward(value, "reward") == reward


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "'reward' is nan: should be a finite number"),
        ("-Infinity", "'reward' is '-Infinity': should be a finite number"),
        (10**400, "'reward' should be a valid number"),
        (None, "'reward' is missing"),
        ("", "'reward' is '': should be a valid number"),
        ("0,5", "'reward' is '0,5': should be a valid number"),
        ("good", "'reward' is 'good': should be a valid number"),
        ([1.0], "'reward' should be a valid number"),
    ],
)
def test_bad_rewards(value, reason):
    with pytest.raises(Failure, match=f"^{reason}.*; leave the row out, or set a finite number"):
        to_reward(value, "reward")


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (7, "7"), (3.0, "3"), (0.5, "0.5"), (None, None), ("", None), (float("nan"), None)],
)
def test_text_or_numbers(value, text):
    assert to_text({"a": value}, "a") == text
    assert to_text({"a": value}, None) is None


def test_whole_numbers():
    assert [to_count({"n": value}, "n") for value in (3, 3.0, "3", None)] == [3, 3, 3, None]


@pytest.mark.parametrize(
    ("convert", "value", "reason"),
    [
        (to_id, None, "'a' is missing"),
        (to_id, True, "'a' should be a valid string"),
        (to_text, ["m"], "'a' should be a valid string"),
        (to_text, "\ud83d", "'a' has half a surrogate pair"),
        (to_index, None, "'a' is missing"),
        (to_index, -1, "'a' is '-1': should be greater than or equal to 0"),
        (to_index, 0.5, "'a' is '0.5': should be a valid integer"),
        (to_count, "many", "'a' is 'many': should be a valid integer"),
        (to_count, 10**30, "'a' is '1000000000000000000000000000000': should be less than"),
    ],
)
def test_bad_ids_and_numbers(convert, value, reason):
    with pytest.raises(Failure, match=f"^{reason}"):
        convert({"a": value}, "a")


@pytest.mark.parametrize("text", ["[1, 2] is a list?", "[1, 2]", "[]", '[{"x": 1}]', "[" * 100_000, "2 + 2?"])
def test_a_question_that_only_looks_like_json_stays_text(text):
    assert to_messages(text, "q") == [{"role": "user", "content": text}]


def test_chat_messages():
    named = [{**turn, "name": None} for turn in CHAT]
    assert to_messages(named, "q") == to_messages(json.dumps(named), "q") == CHAT
    assert question_id(to_messages("2 + 2?", "q")) == question_id(to_messages(CHAT[3:], "q")) != question_id(CHAT)
    assert to_response(ANSWER, "r") == to_response("4", "r") == "4"


@pytest.mark.parametrize(
    ("convert", "value", "reason"),
    [
        (to_messages, 5, "'a' should be a valid list"),
        (to_messages, None, "'a' is missing"),
        (to_messages, " ", "'a' is empty"),
        (to_messages, [], "'a' is empty"),
        (to_messages, ["a"], r"'a\[0\]' is 'a': should be a valid dictionary"),
        (to_messages, [{"from": "human", "value": "a"}], r"'a\[0\].role' is missing"),
        (to_messages, [{"role": "user", "content": [{}]}], r"'a\[0\].content' should be a valid string"),
        (to_messages, "\ud800", "'a' has half a surrogate pair"),
        (to_messages, [*CHAT, *ANSWER], "the conversation in 'a' ends with the assistant's turn"),
        (to_response, None, "'a' is missing"),
        (to_response, 4, "'a' should be a valid string"),
        (to_response, {"text": "4"}, "'a' should be a valid string"),
        (to_response, CHAT[:1], "the message in 'a' is not the assistant's"),
        (to_response, CHAT[:2], "'a' should be a valid string"),
        (to_response, "cut \ud83d", "'a' has half a surrogate pair"),
        (option_lines, "A, B", "'a' is 'A, B': should be a valid list"),
        (option_lines, ["x"] * 27, "'a' .* at most 26 items"),
    ],
)
def test_bad_questions_responses_and_options(convert, value, reason):
    with pytest.raises(Failure, match=f"^{reason}"):
        convert(value, "a")


RECORD = candidate("p", 0, "r", 1.0)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"rewards": [plain_reward("r", float("nan"))]}, "'rewards' is nan: should be a finite number"),
        ({"rewards": "1"}, "'rewards' is '1': should be a valid list"),
        ({"rewards": [plain_reward("r", "1")]}, r"'rewards\[0\].value' is '1': should be a valid number"),  # type: ignore
        ({"marks": ["\ud83d"]}, "'the row' has half a surrogate pair"),
        ({"question": None}, "'question' is missing"),
    ],
)
def test_bad_records(wrong, reason):
    assert as_record({**RECORD, "more": 1}) == RECORD
    with pytest.raises(Failure, match=f"^{reason}"):
        as_record({**RECORD, **wrong})


@given(st.integers(-(10**6), 10**6))
def test_whole_rewards_of_records_become_floats(value):
    """As they are stored: a row has one hash, before and after."""
    [reward] = as_record({**RECORD, "rewards": [plain_reward("r", value)]})["rewards"]
    assert repr(reward["value"]) == f"{value}.0"


def test_questions_that_read_the_same_have_one_id():
    composed, decomposed = "Is caf\u00e9 a\u200b word?", "Is cafe\u0301 a word?"
    assert question_id(to_messages(composed, "q")) == question_id(to_messages(decomposed, "q"))
    assert to_messages(decomposed, "q")[0]["content"] == decomposed, "the text itself is kept"
