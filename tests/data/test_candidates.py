"""A user's rows become candidates, or failures that say what to do."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openprm.data.candidates import CandidateSource, read_candidates
from openprm.data.columns import Columns
from openprm.data.readers import dataset_name
from openprm.errors import Failure, InputError
from openprm.schema import SCHEMA_VERSION, Candidate, Generator, plain_reward

from .failures import apart, failed_rows

ROW = {"question": "2 + 2?", "response": "4", "reward": 1.0}
NO_REWARD = Columns(reward=None)


def read(path: str, *args: Any, **kwargs: Any) -> tuple[list[Candidate], list[Failure]]:
    return apart(read_candidates(path, *args, **kwargs))


@pytest.fixture
def jsonl(tmp_path: Path):
    def write(*rows: dict[str, Any], name: str = "answers.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def test_one_candidate_only(jsonl):
    candidate = {
        "schema_version": SCHEMA_VERSION,
        "prompt_id": "da3506d6973c1e35",
        "source": "answers",
        "question": [{"role": "user", "content": "2 + 2?"}],
        "reference": None,
        "response": "4",
        "sample_index": 0,
        "generator": dict.fromkeys(Generator.__annotations__),
        "finish_reason": None,
        "n_tokens": None,
        "rewards": [plain_reward("reward", 1.0)],
        "marks": [],
    }
    assert read(jsonl(ROW)) == ([candidate], [])


def test_how_many_there_are_is_known_of_a_file_too(jsonl):
    path = jsonl(
        ROW, {**ROW, "response": ["4", "5"], "reward": [1, 0]}, {"question": "", "response": "x", "reward": 1}
    )
    assert CandidateSource(path).count() == 3
    assert CandidateSource(path, where={"question": "2 + 2?"}).count() == 3


def test_every_column_by_its_default_name(jsonl):
    more = {"prompt_id": 7, "reference": 4, "source": "sums", "model": "m", "sample_index": 3.0, "n_tokens": 1}
    more["finish_reason"] = "length"
    [candidate], _ = read(jsonl({**ROW, **more}))
    assert (candidate["prompt_id"], candidate["reference"], candidate["source"]) == ("7", "4", "sums")
    assert (candidate["generator"]["model"], candidate["sample_index"], candidate["n_tokens"]) == ("m", 3, 1)
    assert candidate["marks"] == ["truncated"]
    [candidate], _ = read(jsonl({**ROW, **more, "response": " \n"}), source="mine")
    assert (candidate["source"], candidate["response"]) == ("mine", " \n")
    assert candidate["marks"] == ["empty", "truncated"]


def test_columns_by_other_names_and_an_empty_name_for_none(jsonl):
    path = jsonl({"q": "2 + 2?", "answer": "4", "score": "0.5", "model": {"not": "a name"}})
    [candidate], rejected = read(path, Columns("q", "answer", "score", model=""), reward_name="judge")
    assert not rejected
    assert candidate["rewards"] == [plain_reward("judge", 0.5)]


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (Columns(question="questoin"), "question"),
        (Columns(response="respons"), "response"),
        (Columns(reward="rewards"), "reward"),
        (Columns(model="respons"), "response"),
    ],
)
def test_a_missing_column_names_the_nearest_and_all(jsonl, columns, name):
    with pytest.raises(InputError, match=rf"'question', 'response', 'reward'; did you mean '{name}' "):
        read(jsonl(ROW), columns)


def test_without_a_reward_column_rewards_must_be_declined(jsonl):
    path = jsonl({"question": "q", "response": "r"})
    with pytest.raises(InputError, match="no column 'reward'"):
        read(path)
    [candidate], _ = read(path, NO_REWARD)
    assert candidate["rewards"] == []


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"question": None}, "'question' is missing"),
        ({"response": []}, "'response' is an empty list"),
        ({"reward": "good"}, "'reward' is 'good': should be a valid number"),
        ({"model": ["m"]}, "'model' should be a valid string"),
        ({"n_tokens": "many"}, "'n_tokens' is 'many': should be a valid integer"),
    ],
)
def test_bad_values_fail_with_row_and_column(jsonl, wrong, reason):
    first = {**ROW, **dict.fromkeys(wrong, 0), **ROW}
    candidates, [failure] = read(jsonl(first, {**first, **wrong}))
    assert len(candidates) == 1
    assert failed_rows([failure]) == [2]
    assert failure.reason.startswith(reason)


def test_broken_lines_are_failures_of_their_own(tmp_path):
    good = json.dumps(ROW).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"question"\n' + good + b"\n" + good.replace(b"4", b"\xff") + b"\n")
    candidates, rejected = read(str(path))
    assert (len(candidates), failed_rows(rejected)) == (1, [1, 3])
    path.write_text("{\n{\n")
    assert failed_rows(read(str(path))[1]) == [1, 2]


def test_prompt_ids_are_derived_from_the_question_alone(jsonl):
    chat = [{"role": "user", "content": "2 + 2?", "name": None}]
    rows = [ROW, {**ROW, "question": chat}, {**ROW, "question": json.dumps(chat)}, {**ROW, "question": "3?"}, ROW]
    candidates, rejected = read(jsonl(*rows))
    ids = [candidate["prompt_id"] for candidate in candidates]
    assert ids[0] == ids[1] == ids[2] == ids[4] != ids[3]
    assert [candidate["sample_index"] for candidate in candidates] == [0, 1, 2, 0, 3]
    assert not rejected


def test_ids_that_come_twice_name_the_first_row(jsonl):
    row = {**ROW, "prompt_id": "a"}
    candidates, [failure] = read(jsonl(row, {**row, "question": "3?"}, row))
    assert (len(candidates), failed_rows([failure])) == (2, [2])
    assert failure.reason == "prompt_id 'a' has another question in row 1"
    rows = [{**ROW, "sample_index": index} for index in (1, 0, 5, 5, 1, 0, 2)]
    candidates, rejected = read(jsonl(*rows))
    assert [candidate["sample_index"] for candidate in candidates] == [1, 0, 5, 2]
    assert failed_rows(rejected) == [4, 5, 6]
    assert [failure.reason[-5:] for failure in rejected] == ["row 3", "row 1", "row 2"]


def test_a_list_of_responses_per_row(jsonl):
    path = jsonl({"question": "q", "response": ["a", "", "c"], "reward": [1, None, "tie"], "model": "m"})
    candidates, [failure] = read(path)
    assert [(c["response"], c["sample_index"], c["rewards"][0]["value"]) for c in candidates] == [
        ("a", 0, 1.0),
        ("c", 1, 0.5),
    ]
    assert {candidate["generator"]["model"] for candidate in candidates} == {"m"}
    assert str(failure).startswith(f"{path}, row 1, response 2 of 3: 'reward' is missing; ")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"reward": [1]}, "2 responses, but 1 in 'reward'"),
        ({"reward": 1}, "2 responses, but 'reward' is not a list"),
        ({"model": ["a", "b", "c"]}, "2 responses, but 3 in 'model'"),
    ],
)
def test_lists_of_other_lengths(jsonl, wrong, reason):
    _, [failure] = read(jsonl({"question": "q", "response": ["a", "b"], "reward": [1, 0], **wrong}))
    assert failure.reason == reason


def test_where_skips_and_counts(jsonl):
    path = jsonl(*({**ROW, "split": name, "ok": True} for name in ("train", "test", "train")))
    counts: Counter[str] = Counter()
    candidates, rejected = apart(CandidateSource(path, where={"split": "train", "ok": "true"}).read(counts))
    assert (len(candidates), rejected, counts) == (2, [], {"rows": 3, "skipped": 1})
    with pytest.raises(InputError, match="no row has split = 'dev'"):
        read(path, where={"split": "dev"})
    with pytest.raises(InputError, match="no column 'spilt'"):
        read(path, where={"spilt": "train"})


def test_questions_from_a_second_file(jsonl):
    problems = jsonl(
        {"prompt_id": 1, "question": "Which?", "options": ["red", "blue"], "answer": "B"},
        {"prompt_id": 2, "question": "What?", "options": None, "answer": None},
        {"prompt_id": 2, "question": "What else?"},
        {"prompt_id": 4, "question": "Caf\u00e9?", "options": ["red"], "answer": "A"},
        {"prompt_id": 4, "question": "\u200bCafe\u0301?", "options": ["red"], "answer": "A"},  # the same question
        {"prompt_id": 3, "question": "", "options": ["red"]},
        name="problems.jsonl",
    )
    path = jsonl(*({"prompt_id": i, "response": "r", "reward": 0} for i in (1, 2, 3)))
    candidates, rejected = read(path, Columns(reference="answer"), questions=problems, questions_options="options")
    contents = [candidate["question"][0]["content"] for candidate in candidates]
    assert contents == ["Which?\nA. red\nB. blue", "What?"]
    assert [candidate["reference"] for candidate in candidates] == ["B", None]
    assert [Path(str(failure.key)).name for failure in rejected] == [
        "problems.jsonl, row 3",
        "problems.jsonl, row 6",
        "answers.jsonl, row 3",
    ]
    assert "has no question '3'" in rejected[2].reason
    with pytest.raises(InputError, match=r"answers\.jsonl: no column 'prompt_id'"):
        read(jsonl({"response": "r", "reward": 0}), questions=problems)
    with pytest.raises(InputError, match=r"problems\.jsonl: no column 'id'"):
        read(jsonl({"id": 1, "response": "r", "reward": 0}), Columns(prompt_id="id"), questions=problems)


def test_candidate_records_pass_unchanged(jsonl, tmp_path):
    candidates, _ = read(jsonl(ROW, {**ROW, "response": ""}))
    path = tmp_path / "candidates.parquet"
    pq.write_table(pa.Table.from_pylist(candidates), path)
    assert read(str(path)) == read(jsonl(*candidates)) == (candidates, [])
    assert read(jsonl(*candidates), NO_REWARD) == (candidates, [])  # as `openprm reward` reads them
    with pytest.raises(InputError, match="candidate records already"):
        read(str(path), source="other")
    with pytest.raises(InputError, match="schema_version 2 is newer"):
        read(jsonl({**candidates[0], "schema_version": SCHEMA_VERSION + 1}))
    wrong = {**candidates[0], "sample_index": 2, "rewards": "1"}
    assert failed_rows(read(jsonl(*candidates, candidates[0], wrong))[1]) == [3, 4]


texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@same_folder
@given(st.lists(st.tuples(texts, texts, json_values), min_size=1), st.booleans())
def test_responses_survive_byte_for_byte(tmp_path, rows, ascii_only):
    path = tmp_path / "a.jsonl"
    with open(path, "w", encoding="utf-8", newline="") as handle:
        for question, response, extra in rows:
            row = {"question": f"q{question}", "response": response, "extra": extra}
            handle.write(json.dumps(row, ensure_ascii=ascii_only) + "\n")
    candidates, rejected = read(str(path), NO_REWARD)
    assert not rejected
    assert [candidate["response"].encode() for candidate in candidates] == [row[1].encode() for row in rows]


@same_folder
@given(rows=st.lists(st.dictionaries(st.sampled_from(["question", "response", "reward"]), json_values), min_size=1))
def test_no_row_is_lost_or_breaks_the_reading(jsonl, rows):
    candidates, rejected = read(jsonl(ROW, *rows))
    several = [row["response"] for row in rows if isinstance(row.get("response"), list)]
    assert len(candidates) + len(rejected) >= 1 + len(rows)
    assert several or len(candidates) + len(rejected) == 1 + len(rows)


def test_the_source_is_named_after_the_file_or_the_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a@b.jsonl").touch()
    names = ["data/answers.jsonl.gz", "org/data:config", "org/data@v1.0", "org/data@refs/pr/1:config", "a@b.jsonl"]
    assert [dataset_name(name) for name in names] == ["answers", "data", "data", "data", "a@b"]
