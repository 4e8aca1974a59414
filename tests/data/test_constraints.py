"""Prompts with verifiable constraints: what is asked is what is checked, and nothing contradicts itself."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from openprm.data import constraints
from openprm.data.constraints import Instruction, compose, constraint_kinds, near_duplicates, open_instructions
from openprm.errors import InputError
from openprm.rewards.ifeval import read_instructions
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
