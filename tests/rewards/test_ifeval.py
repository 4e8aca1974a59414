import json
import random
import sys
from pathlib import Path

import pytest

from openprm.errors import InputError
from openprm.rewards.ifeval import check, instructions_reference, instructions_rule, read_instructions
from openprm.rewards.ifeval_checks import KINDS, language_of, load_languages
from tests.rewards.outcomes import assert_quick, failure, outcome, reward

IFEVAL = Path(__file__).parents[2] / "../shared/data/ifeval/ifeval.parquet"

ENGLISH = "the children walked slowly to the old house by the river and waited there for their friends"
GERMAN = "Die Kinder gingen langsam zum alten Haus am Fluss und warteten dort auf ihre Freunde."

#: Kinds that need the language, which langdetect takes a second to load.
LANGUAGES = ("language:", "change_case:english")

#: Kind, arguments, responses that follow it, responses that do not.
CASES: list[tuple[str, dict, list[str], list[str]]] = [
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["This is VERY GOOD.", "NASA-ESA and UN"],
        ["This is VERY good.", "None"],
    ),
    ("change_case:english_capital", {}, [ENGLISH.upper()], [ENGLISH, GERMAN.upper(), "123"]),
    ("change_case:english_lowercase", {}, [ENGLISH], [ENGLISH.capitalize(), GERMAN.lower(), "123"]),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Write a poem."},
        ["Write a poem.\nRoses are red", " write a poem. Yes."],
        ["Sure! Write a poem.", "Write a"],
    ),
    (
        "combination:two_responses",
        {},
        ["One.\n******\nTwo.", "******\nOne.\n******\nTwo.\n******"],
        ["One.", "One.******One.", "One.******Two.******Three.", "One.\n***\nTwo.", "One.************Two."],
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        ["Dear [name], of [street address]"],
        ["Dear [name]", "Dear []", "[a"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        ["Bye.\nP.S. Call me.", "**p. s.** x"],
        ["Bye.", "PSA."],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        ["Bye.\nP.P.S Call me.", "Bye.\n P.P.S. Call"],
        ["Bye.\nP.S. Call me.", "I wrote P.P.S here"],
    ),
    (
        "detectable_format:constrained_response",
        {},
        ["My answer is yes.", "Well. My answer is maybe."],
        ["yes", "my answer is yes.", "My answer is unclear."],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": [1]}', '```json\n{"a": 1}\n```', "```\n[]\n```"],
        ['Here: {"a": 1}', "{'a': 1}"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        ["SECTION 1\na\nSECTION 2\nb"],
        ["SECTION 1\na", "SECTION one SECTION two"],
    ),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n* b", "Here:\n- a\n  - b"],
        ["* a", "* a\n* b\n* c", "**a**\n**b**", "***\n* a"],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*one* and **two**", "*one two* *three*"],
        ["*one*", "**one**", "* a\n* b", "****"],
    ),
    ("detectable_format:title", {}, ["<<A song>>\nLa"], ["<A song>", "<< >>", "<<A\nsong>>"]),
    ("keywords:existence", {"keywords": ["mom", "Red tree"]}, ["My MOMs red tree"], ["mom", "A moment's red tre"]),
    ("keywords:forbidden_words", {"forbidden_words": ["rock", "roll"]}, ["A rocket"], ["Rock!", "a roll"]),
    (
        "keywords:frequency",
        {"keyword": "story", "frequency": 2, "relation": "at least"},
        ["A story of stories: story."],
        ["A story", "history of history"],
    ),
    ("keywords:frequency", {"keyword": "war", "frequency": 1, "relation": "less than"}, ["toward"], ["War"]),
    (
        "keywords:letter_frequency",
        {"letter": "q", "let_frequency": 2, "let_relation": "at least"},
        ["Quite quick"],
        ["Quite"],
    ),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "less than"}, ["#a"], ["#a #b"]),
    ("language:response_language", {"language": "de"}, [GERMAN], [ENGLISH, "123"]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "elm"},
        ["Oak.\n\nElm trees.", 'Oak.\n\n"Elm" trees.\n\n'],
        ["Elm.\n\nOak.", "Oak.\n\nElms.", "Oak.\n\nElm.\n\nAsh.", "Oak.\nElm."],
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a\n***\nb", "***\na\n***\nb\n***"],
        ["a\n\nb", "a", "a\n***\n***\nb", "a\n***\nb\n***\nc"],
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        ["Dr. Who came. He went.", "# Title\nOne sentence."],
        ["Dr. Who came at 5.30 p.m. today.", "One!!!"],
    ),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, ["One."], ["One. Two."]),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        ["It's well-known, yes"],
        ["well-known - yes"],
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["Not long."], ["It is long."]),
    ("punctuation:no_comma", {}, ["Yes; no."], ["Yes, no."]),
    ("startend:end_checker", {"end_phrase": "Peace!"}, ["Bye. peace!", '"Bye. Peace!"\n'], ["Peace! Bye."]),
    ("startend:quotation", {}, ['"Yes."', ' "a" and "b"\n'], ["Yes.", '"', '"Yes.']),
]


@pytest.mark.parametrize(("kind", "arguments", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_each_kind(kind, arguments, good, bad):
    instructions = read_instructions(instructions_reference([kind], [arguments]))
    assert {response: check(response, instructions) for response in good} == {response: [True] for response in good}
    assert {response: check(response, instructions) for response in bad} == {response: [False] for response in bad}
    assert check(" \n", instructions) == [False]


def test_every_kind_is_tested():
    assert {case[0] for case in CASES} == set(KINDS)


def test_the_reward_is_the_share_followed():
    rule = instructions_rule()
    reference = instructions_reference(["punctuation:no_comma", "startend:quotation"], [{"keyword": None}, {}])
    assert reference == '[{"id": "punctuation:no_comma"}, {"id": "startend:quotation"}]'
    assert outcome(rule, '"Yes."', reference) == reward("instructions", 1.0)
    assert outcome(rule, "Yes.", reference) == reward("instructions", 0.5)
    assert outcome(rule, "Yes, no.", reference) == reward("instructions", 0.0)
    assert outcome(rule, "", reference) == reward("instructions", 0.0)
    assert outcome(instructions_rule("followed"), '"Yes."', reference) == reward("followed", 1.0)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("use no comma", "is not JSON"),
        ("[]", "has no instruction"),
        ('{"id": "punctuation:no_comma"}', "should be a valid list"),
        (
            '[{"id": "punctuation:no_comma"}, {"id": "poetry:rhyme"}]',
            "instruction 2 has the unknown kind 'poetry:rhyme'",
        ),
        ('[{"id": ["a"]}]', "instruction 1 has the unknown kind"),
        ('[{"id": "startend:end_checker"}]', "end_phrase' is missing"),
        ('[{"id": "punctuation:no_comma", "n": 1}]', "no_comma.n' Extra inputs are not permitted"),
        ('[{"id": "startend:end_checker", "end_phrase": 3}]', "end_phrase' should be a valid string"),
        ('[{"id": "keywords:existence", "keywords": "a"}]', "keywords' is 'a': should be a valid list"),
        (
            '[{"id": "length_constraints:number_words", "num_words": 3, "relation": "over"}]',
            "relation' is 'over': should be 'at least' or 'less than'",
        ),
        ('[{"id": "language:response_language", "language": "xx"}]', "does not know the language 'xx'"),
        (None, "no reference"),
    ],
)
def test_a_reference_that_cannot_be_used_is_a_failure(reference, reason):
    assert reason in failure(instructions_rule(), "Yes.", reference).reason


def test_rows_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        instructions_reference(["punctuation:no_comma", "startend:quotation"], [{}])


def test_a_missing_extra_is_named(monkeypatch):
    load_languages.cache_clear()
    monkeypatch.setitem(sys.modules, "langdetect.detector_factory", None)
    with pytest.raises(InputError, match=r"openprm\[instructions\]"):
        instructions_rule()


def test_languages_are_the_same_every_time():
    state = random.getstate()
    assert {language_of("Pizza, taxi, hotel") for _ in range(10)} == {language_of("Pizza, taxi, hotel")}
    assert (language_of(ENGLISH), language_of(GERMAN), language_of("12 + 3")) == ("en", "de", None)
    assert random.getstate() == state


@pytest.mark.parametrize(
    "unit",
    [
        *[
            "a ",
            "<<",
            "*",
            "* a",
            "\n",
            "[",
            "- ",
            "P.",
            "***a",
            '"',
            "SECTION ",
            "{",
            "a'",
            ".",
            "!",
            "...",
            ". ",
            "```",
        ],
    ],
)
def test_degenerate_responses_are_checked_in_reasonable_time(unit):
    everything = [(kind, arguments) for kind, arguments, _, _ in CASES if not kind.startswith(LANGUAGES)]
    assert_quick(lambda text: check(text, everything), unit)
    language_of(unit * 20_000)


@pytest.mark.skipif(not IFEVAL.exists(), reason="no shared data")
def test_all_of_ifeval_can_be_checked():
    import pyarrow.parquet as pq

    rule = instructions_rule()
    rows = pq.read_table(IFEVAL).to_pylist()
    assert len(rows) == 541
    for row in rows:
        reference = instructions_reference(row["instruction_id_list"], json.loads(row["kwargs"]))
        assert [kind for kind, _ in read_instructions(reference)] == row["instruction_id_list"]
        found = outcome(rule, row["prompt"], reference)
        assert found.failure is None, row["key"]
