"""The declared sources: what becomes of a row, in exactly the types the Hub has, and what the Hub's cache gives."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.data.paper_datasets import PAIR_SOURCES, PROMPT_SOURCES, find_source, last_boxed
from openprm.data.prompts import read_declared_prompts
from openprm.errors import Failure, InputError

from .. import public_data
from ..public_data import helpsteer2_rows, scienceqa_row
from .failures import apart, failed_rows


def read(name: str, folder: Path) -> tuple[list[tuple[str, str | None]], list[Failure], Counter[str]]:
    """Questions with references, rejections and counts."""
    counts: Counter[str] = Counter()
    prompts, refused = apart(read_declared_prompts(PROMPT_SOURCES[name], str(folder), counts))
    for prompt in prompts:
        [turn] = prompt["question"]
        assert (turn["role"], prompt["source"]) == ("user", name)
    return [(prompt["question"][0]["content"], prompt["reference"]) for prompt in prompts], refused, counts


def test_every_source_says_where_it_is_from():
    sources = [*PROMPT_SOURCES.values(), *PAIR_SOURCES.values()]
    assert len({source.name for source in sources}) == len(sources)
    for source in sources:
        assert re.fullmatch("[0-9a-f]{40}", source.revision), "a commit, not a branch that moves"
        assert all(source.origin().values())
    assert PROMPT_SOURCES["scienceqa"].license == "CC-BY-NC-SA-4.0"
    paper = {name: source.paper_rows for name, source in PROMPT_SOURCES.items() if source.paper_rows}
    assert paper == {"ultrafeedback": 59876, "scienceqa": 6508, "math": 7500}  # Table 4


TWO = '[{"role": "user", "content": "a chat only in looks"}]'


def test_ultrafeedback(tmp_path):
    folder = public_data.llama3_ultrafeedback(tmp_path / "u", ["one", TWO, "one", " "])
    prompts, [refused], counts = read("ultrafeedback", folder)
    assert prompts == [("one", None), (TWO, None)]
    assert (failed_rows([refused]), refused.reason) == ([4], "'prompt' is empty")
    assert counts["duplicates"] == 1


def test_the_whole_of_ultrafeedback(tmp_path):
    folder = public_data.ultrafeedback_original(tmp_path / "u", ["one", "two", "three"])
    assert sorted(read("ultrafeedback-original", folder)[0]) == [("one", None), ("three", None), ("two", None)]


def test_scienceqa_is_worded_as_in_the_paper(tmp_path):
    rows = [
        scienceqa_row(),
        scienceqa_row(image={"bytes": b"not decoded", "path": "image.png"}, question="Which state is shown?"),
        scienceqa_row(question="Is it warm?", hint="It is 40 degrees.", choices=["yes", "no"], answer=0),
        scienceqa_row(question="No such choice?", answer=3),
    ]
    prompts, [refused], counts = read("scienceqa", public_data.scienceqa(tmp_path / "s", rows))
    assert prompts == [
        (
            "Question:\nWhich tense does the sentence use?\nMona will print her name with care.\n"
            "Options:\nA. present tense\nB. future tense\nC. past tense\nAnswer: Let's think step by step.",
            "B",
        ),
        (
            "Question:\nIs it warm?\nContext:\nIt is 40 degrees.\n"
            "Options:\nA. yes\nB. no\nAnswer: Let's think step by step.",
            "A",
        ),
    ]
    assert counts["skipped"] == 1
    assert (failed_rows([refused]), refused.reason) == ([4], "'answer' is 3 of 3 choices")


def test_math_is_all_seven_parts(tmp_path):
    folder = public_data.math(
        tmp_path / "m",
        {
            "algebra": [("What is half?", r"First $\boxed{1}$. No: $\boxed{\frac{1}{2}}$."), ("Why?", "Because.")],
            "precalculus": [("What is $2+3$?", r"It is $\boxed 5$.")],
        },
    )
    prompts, [refused], _ = read("math", folder)
    assert prompts[0] == ("What is half?", r"\frac{1}{2}")
    assert prompts[-1] == ("What is $2+3$?", "5")
    assert len(prompts) == 7
    assert refused.key == f"{folder}:algebra, row 2"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{7}", "7"),
        (r"\boxed{1} then \boxed{ 2 }", "2"),
        (r"\boxed{x^{2^{3}} \text{ if } \{a\}}", r"x^{2^{3}} \text{ if } \{a\}"),
        (r"\fbox{no}", "no"),
        (r"so $\boxed 5$.", "5"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{open", None),
        (r"\boxedness{1}", None),
        ("nothing", None),
    ],
)
def test_the_last_boxed_answer(text: str, answer: str | None):
    assert last_boxed(text) == answer


@given(
    st.recursive(
        st.sampled_from(["a", r"\frac", r"\{", " 1"]),
        lambda x: st.builds("{{{}}}".format, x) | st.builds("{}{}".format, x, x),
    )
)
def test_whatever_braces_match_is_found(inside: str):
    assert last_boxed(rf"so $\boxed{{{inside}}}$ and {{}}.") == inside.strip()


def test_helpsteer2_by_helpfulness():
    source = PAIR_SOURCES["helpsteer2"]
    conversation = "Hello\n\n<extra_id_1>Assistant\nHi!\nHow?\n\n<extra_id_1>User\nWhy?"
    pair = source.pair(helpsteer2_rows((conversation, [("short", 1), ("long", 3)])), "helpsteer2")
    assert pair is not None
    assert (pair["chosen"], pair["rejected"], pair["gap"], pair["level"]) == ("long", "short", 2.0, "outcome")
    assert [(turn["role"], turn["content"]) for turn in pair["question"]] == [
        ("user", "Hello"),
        ("assistant", "Hi!\nHow?"),
        ("user", "Why?"),
    ]
    assert source.pair(helpsteer2_rows(("Tie?", [("a", 2), ("b", 2)])), "helpsteer2") is None
    with pytest.raises(Failure, match="'helpfulness' is missing"):
        source.pair(helpsteer2_rows(("Not rated?", [("a", 2), ("b", None)])), "helpsteer2")


def test_an_unknown_source():
    with pytest.raises(InputError, match="no declared dataset 'gsm8k'; there are ultrafeedback, "):
        find_source(PROMPT_SOURCES, "gsm8k")


def test_other_data_is_told_apart(tmp_path):
    folder = public_data.llama3_ultrafeedback(tmp_path / "u", ["one"])
    with pytest.raises(InputError, match="no column 'instruction'"):
        list(read_declared_prompts(PROMPT_SOURCES["ultrafeedback-original"], str(folder)))


def test_what_the_hub_gave_once_is_read_from_its_cache(tmp_path, monkeypatch):
    """The layout that the Hub's library keeps: files in `blobs`, links to them in the commit's folder."""
    source = PROMPT_SOURCES["math"]
    repository = tmp_path / "cache" / "datasets--EleutherAI--hendrycks_math"
    snapshot = repository / "snapshots" / source.revision
    public_data.math(snapshot, {})
    (repository / "blobs").mkdir()
    for number, file in enumerate([path for path in snapshot.rglob("*") if path.is_file()]):
        blob = repository / "blobs" / f"{number:064x}"
        file.rename(blob)
        file.symlink_to(os.path.relpath(blob, file.parent))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    prompts = list(read_declared_prompts(source))
    assert len(prompts) == 7
    with pytest.raises(InputError, match="the Hub does not give derek-thomas/ScienceQA at f18b0a7"):
        list(read_declared_prompts(PROMPT_SOURCES["scienceqa"]))
