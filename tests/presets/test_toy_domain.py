"""The domain of the preset `tiny`, and its stages."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import torch

from openprm.presets import toy_domain as tiny
from openprm.presets.toy_stages import ToyPolicy, ToyPrompts
from openprm.rewards import golden_answer
from openprm.runs.folder import read_rows, rows_hash
from openprm.scoring.encoding import encode
from openprm.scoring.steps import split

N = 400


def by_hand(question: str) -> int:
    """The answer, read off the question's text: nothing here is shared with the domain's own code."""
    found = re.fullmatch(r"The dial is at (\d)\. (.*)\.", question)
    assert found, question
    position = int(found[1])
    for turn in found[2].split(". "):
        _, what, *amount = turn.split(" ")
        if what == "flip":
            position = [5, 6, 7, 8, 9, 0, 1, 2, 3, 4][position]
        elif what == "mirror":
            position = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0][position]
        else:
            position += {"up": 1, "down": -1}[what] * int(amount[0])
            position %= 10
    return position


def texts(dials: list[tiny.Dial]) -> list[str]:
    rng = random.Random(0)
    solutions = [tiny.solution(dial, rng, sloppy) for dial in dials for sloppy in (0.0, 1.0)]
    return [dial.question for dial in dials] + solutions


@pytest.mark.parametrize("name", tiny.SPLITS)
def test_golden_answers_are_those_computed_from_the_question(name):
    for dial in tiny.dials(N, seed=3, split=name):
        assert dial.reference == str(by_hand(dial.question))


def test_prompts_are_distinct_and_splits_share_none():
    questions = {name: [dial.question for dial in tiny.dials(N, 0, name)] for name in tiny.SPLITS}
    for asked in questions.values():
        assert len(set(asked)) == len(asked) == N
    # whatever the seed: the digits of a dial decide to which split it belongs
    train = {dial.question for seed in range(5) for dial in tiny.dials(2000, seed, "train")}
    assert not train & set(questions["test"])
    assert tiny.dials(20, 1) == tiny.dials(20, 1) != tiny.dials(20, 2)


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match=r"'tets'.*train, test"):
        tiny.dials(1, 0, "tets")


def test_solutions_without_confusion_are_right_step_by_step():
    for dial in tiny.dials(N, seed=1):
        text = tiny.solution(dial, random.Random(0), sloppy=0.0)
        assert golden_answer(text, dial.reference) == 1.0
        steps = split(text, tiny.SEPARATOR)
        assert "".join(steps) == text
        assert len(steps) == len(dial.turns) + 1
        assert [int(step[-3]) for step in steps[:-1]] == dial.positions()[1:]


def test_confusion_gives_wrong_answers_only_where_there_is_something_to_confuse():
    for dial in tiny.dials(N, seed=1):
        confusing = any(turn in tiny.CONFUSED for turn, _ in dial.turns)
        right = golden_answer(tiny.solution(dial, random.Random(0), sloppy=1.0), dial.reference)
        # x + 5 is 9 - x for x = 2 and 7 alone
        assert right == 1.0 if not confusing else right in (0.0, 1.0)
    confused = tiny.Dial(3, (("flip", 0),))
    assert tiny.solution(confused, random.Random(0), sloppy=1.0) == "First 3 mirror is 6.\nThe answer is 6"
    assert (confused.question, confused.reference) == ("The dial is at 3. First flip.", "8")


def test_the_tokenizer_is_lossless_and_knows_every_word():
    tokenizer = tiny.tokenizer()
    for text in texts([dial for name in tiny.SPLITS for dial in tiny.dials(N, 0, name)]):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_chat_template_renders_bos_once_and_ends_the_turn():
    tokenizer = tiny.tokenizer()
    dial = tiny.dials(1, 0)[0]
    answer = tiny.solution(dial, random.Random(0))
    ids = encode(tokenizer, dial.question, answer)
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id != tokenizer.pad_token_id
    asked = [{"role": "user", "content": dial.question}]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    assert ids[: len(prompt)] == prompt


def test_the_policy_learns_from_solutions_alone():
    tokenizer = tiny.tokenizer()
    dial = tiny.dials(1, 0)[0]
    answer = tiny.solution(dial, random.Random(0))
    short = tiny.Dial(3, (("up", 2),))
    batch = tiny._batch(tiny._encoded(tokenizer, [(dial, answer), (short, "The answer is 5")]), tokenizer.pad_token_id)
    for row, text in enumerate((answer, "The answer is 5")):
        learned = batch["labels"][row]
        assert tokenizer.decode(learned[learned != -100]) == text + tokenizer.eos_token
    assert (batch["input_ids"][1] != tokenizer.pad_token_id).tolist() == batch["attention_mask"][1].bool().tolist()


def test_the_stages_give_prompts_and_a_policy_that_can_be_made_again(tmp_path: Path):
    manifest = ToyPrompts(n=30, split="test").run(tmp_path / "prompts")
    rows = list(read_rows(tmp_path / "prompts"))
    assert (manifest["rows"], manifest["row_hash"]) == (30, rows_hash(rows))
    assert len({row["prompt_id"] for row in rows}) == 30
    for row in rows:
        assert row["reference"] == str(by_hand(row["question"][0]["content"]))
    random_state, torch_state = random.getstate(), torch.get_rng_state()
    hashes = [ToyPolicy(steps=2).run(tmp_path / name)["files_hash"] for name in ("one", "two")]
    assert hashes[0] == hashes[1]
    assert ToyPolicy(steps=2, seed=1).run(tmp_path / "other")["files_hash"] != hashes[0]
    assert random.getstate() == random_state
    assert torch.equal(torch.get_rng_state(), torch_state)
