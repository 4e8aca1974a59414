"""Prompts with verifiable constraints: what is asked is what is checked, and nothing contradicts itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from openprm.data import constraints
from openprm.data.constraints import Instruction, compose, constraint_kinds, near_duplicates, open_instructions
from openprm.errors import InputError
from openprm.rewards.ifeval import check, read_instructions
from openprm.rewards.ifeval_checks import KINDS

OPEN = open_instructions()
ONE = [Instruction("Write about tea.", "tea")]


@given(seed=st.integers(0, 2**40), kinds=st.sets(st.sampled_from(constraint_kinds()), min_size=1))
def test_every_prompt_says_what_its_reference_checks(seed, kinds):
    for composed in compose(OPEN, 3, seed, sorted(kinds)):
        checks = read_instructions(composed.reference)  # raises for arguments that the checks do not take
        assert [kind for kind, _ in checks] == list(composed.kinds)
        assert {*composed.kinds} <= kinds
        assert composed.prompt.startswith(composed.instruction.text + " ")
        assert "{" not in composed.prompt
        for kind, arguments in checks:
            for name, value in arguments.items():
                if name not in ("language", "prompt_to_repeat", "num_sections"):
                    words = value if isinstance(value, list) else [str(value)]
                    assert all(word in composed.prompt for word in words), (kind, name)


@given(seed=st.integers(0, 2**40))
def test_one_of_a_group_and_none_that_conflicts(seed):
    declared = declarations()
    for composed in compose(OPEN, 5, seed):
        groups = [kind.split(":")[0] for kind in composed.kinds]
        assert 1 <= len(composed.kinds) <= 3
        assert len(set(groups)) == len(groups)
        assert len(groups) == 1 or not any(declared["kinds"][kind].get("alone") for kind in composed.kinds)
        for couple in combinations(composed.kinds, 2):
            assert [*couple] not in declared["conflicts"]
            assert [*couple][::-1] not in declared["conflicts"]


@pytest.mark.parametrize(
    "couple",
    [
        ("change_case:capital_word_frequency", "detectable_format:multiple_sections"),
        ("change_case:english_capital", "detectable_format:multiple_sections"),
        ("change_case:english_lowercase", "detectable_format:multiple_sections"),
        ("keywords:forbidden_words", "startend:end_checker"),
    ],
)
def test_what_no_response_can_meet_is_not_asked_for(couple):
    assert all(len(composed.kinds) == 1 for composed in compose(OPEN, 50, kinds=couple))


BULLETS, SENTENCES = "detectable_format:number_bullet_lists", "length_constraints:number_sentences"
LETTERS, POSTSCRIPT = "keywords:letter_frequency", "detectable_content:postscript"


@pytest.mark.parametrize(
    ("n", "kinds"),
    [
        *((8, couple) for couple in combinations(constraint_kinds(), 2)),
        (2000, (BULLETS, SENTENCES, POSTSCRIPT)),
        (4000, ("detectable_format:multiple_sections", LETTERS, POSTSCRIPT)),
        (1000, (POSTSCRIPT, "change_case:capital_word_frequency")),
        (1000, None),
    ],
    ids=str,
)
def test_every_prompt_can_be_met(n, kinds):
    if kinds is None or any(kind.startswith(("change_case:english", "language:")) for kind in kinds):
        pytest.importorskip("langdetect")
    for composed in compose(OPEN, n, kinds=kinds):
        checks = read_instructions(composed.reference)
        assert all(check(met(dict(checks)), checks)), (composed.prompt, met(dict(checks)))


def test_bounds_that_just_leave_room_are_asked_for():
    found = set()
    for composed in compose(OPEN, 1000, kinds=[BULLETS, SENTENCES]):
        checks = dict(read_instructions(composed.reference))
        if len(checks) == 2 and checks[SENTENCES]["relation"] == "less than":
            found.add((checks[BULLETS]["num_bullets"], checks[SENTENCES]["num_sentences"]))
    assert found == {(bullets, below) for below in range(3, 7) for bullets in range(2, below) if bullets < 6}


#: Ten words with few letters, no capitals, and none of the words that may be forbidden.
PLAIN = "the children sat in the house until the rain ended"
ANSWERS = {
    "de": "Das ist ein sehr schöner Tag, und wir gehen nach Hause.",
    "es": "Hoy es un día muy bonito y nosotros vamos a la casa.",
    "fr": "C'est une belle journée et nous allons à la maison.",
    "it": "Oggi è una bella giornata e noi andiamo a casa.",
    "pt": "Hoje é um dia muito bonito e nós vamos para a nossa casa.",
}


def met(given: Mapping[str, Mapping[str, Any]]) -> str:
    """A response that meets all constraints, by kind with their arguments."""

    def of(kind: str) -> list[Any]:
        """The arguments of a kind; nothing where it is not given, or asks for less than what stands there anyway."""
        own = [*given.get(kind, {}).values()]
        return [] if "less than" in own else own

    for language in of("language:response_language"):
        return ANSWERS[language]
    if "detectable_format:json_format" in given:
        return "{}"
    if "combination:two_responses" in given:
        return "tea\n******\nrain"
    text = PLAIN
    if words := of("length_constraints:number_words"):
        text = " ".join([PLAIN] * (words[0] // 10))
    if sentences := of("length_constraints:number_sentences"):
        text = " ".join([f"{PLAIN}."] * sentences[0])
    if "detectable_format:title" in given:
        text += " <<tea>>"
    for count in of("detectable_content:number_placeholders"):
        text += " [tea]" * count
    for count in of("detectable_format:number_highlighted_sections"):
        text += " *tea*" * count
    if capitals := of("change_case:capital_word_frequency"):
        text += " TEA" * capitals[0]
    for words in of("keywords:existence"):
        text += " " + " ".join(words)
    if often := of("keywords:frequency"):
        text += f" {often[0]}" * often[1]
    if letters := of("keywords:letter_frequency"):
        text += " " + letters[0] * letters[1]
    if sections := of("detectable_format:multiple_sections"):
        text = " ".join(f"{sections[0]} {index + 1}" for index in range(sections[1])) + " " + text
    for count in of("detectable_format:number_bullet_lists"):
        text = "\n".join([f"* {text}", *["* tea"] * (count - 1)])
    for count in of("length_constraints:number_paragraphs"):
        text = "\n***\n".join([*["tea"] * (count - 1), text])
    if paragraphs := of("length_constraints:nth_paragraph_first_word"):
        count, place, word = paragraphs
        each = ["tea"] * count
        each[-1] = text
        each[place - 1] = f"{word}\n{each[place - 1]}"
        text = "\n\n".join(each)
    for marker in of("detectable_content:postscript"):
        text += f"\n{marker} tea"
    for phrase in of("startend:end_checker"):
        text += f" {phrase}"
    for repeated in of("combination:repeat_prompt"):
        text = f"{repeated} {text}"
    if "change_case:english_lowercase" in given:
        text = text.lower()
    if "change_case:english_capital" in given:
        text = text.upper()
    return f'"\n{text}"' if "startend:quotation" in given else text


@cache
def declarations() -> dict:
    return yaml.safe_load(Path(constraints.__file__).with_suffix(".yaml").read_text("utf-8"))


def test_what_is_declared():
    declared = declarations()
    assert {*KINDS} - {*declared["kinds"]} == {"detectable_format:constrained_response"}
    assert sum(declared["sizes"]) == pytest.approx(1)
    assert all(len(kind["wordings"]) > 1 for kind in declared["kinds"].values())
    for couple in declared["conflicts"]:
        assert {*couple} <= {*declared["kinds"]}


def test_a_smaller_number_is_a_beginning_and_a_seed_gives_others():
    texts = [composed.prompt for composed in compose(OPEN, 30, seed=4)]
    assert [composed.prompt for composed in compose(OPEN, 12, seed=4)] == texts[:12]
    assert [composed.prompt for composed in compose(OPEN, 30, seed=5)] != texts


def test_each_instruction_comes_once_before_any_comes_again():
    two = [*ONE, Instruction("Write about snow.", "snow")]
    made = list(compose(two, 20))
    assert len({composed.prompt for composed in made}) == 20
    for i in range(0, 20, 2):
        assert {composed.instruction.topic for composed in made[i : i + 2]} == {"tea", "snow"}


def test_no_more_than_there_are():
    with pytest.raises(InputError, match="only 2 different prompts can be composed of these, not 3"):
        list(compose(ONE, 3, kinds=["punctuation:no_comma"]))


@pytest.mark.parametrize(
    ("instructions", "kinds", "message"),
    [(ONE, ["punctuation:no_coma"], "did you mean 'punctuation:no_comma'"), ([], None, "at least one instruction")],
)
def test_what_cannot_be_composed(instructions, kinds, message):
    with pytest.raises(InputError, match=message):
        list(compose(instructions, 1, kinds=kinds))


def test_repeating_asks_for_the_instruction():
    (composed,) = compose(ONE, 1, kinds=["combination:repeat_prompt"])
    assert json.loads(composed.reference) == [{"id": "combination:repeat_prompt", "prompt_to_repeat": ONE[0].text}]


def test_near_duplicates():
    others = ["Please write a poem on the moon in German!", "Could you WRITE, about tea. Use no commas."]
    own = [*ONE, Instruction("Describe a used car for a travel magazine.", "a used car")]
    assert near_duplicates(own, others) == {"Write about tea."}
    assert near_duplicates(own, []) == set()
    assert near_duplicates(own, ["Tea", "a", "?"]) == set(), "short prompts stand in many instructions"
    poem = [Instruction("Write a poem about tea.", "tea")]
    assert near_duplicates(poem, ["Write poem about tea."]) == {poem[0].text}, "a shorter prompt may be nearly it"
