"""Beginnings of given responses, as tokens to go on from."""

from __future__ import annotations

import pytest

from openprm.engines.given_response import begin
from openprm.errors import Failure
from openprm.presets import toy_domain
from openprm.scoring.steps import split

from ..tiny_models import tokenizer as bytes_tokenizer

DIAL = "First 3 up 2 is 5.\nSecond 5 flip is 0.\nThe answer is 0"


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_the_tokens_are_the_beginning_of_the_whole(n: int):
    tokenizer = toy_domain.tokenizer()
    steps = split(DIAL)
    whole = tokenizer(DIAL, add_special_tokens=False)["input_ids"]
    begun = begin(tokenizer, steps, n)
    assert begun.as_a_whole
    assert [*begun.partial.tokens] == whole[: len(begun.partial.tokens)]
    assert tokenizer.decode(begun.partial.tokens) == begun.partial.text == "".join(steps[:n])


def test_white_space_that_belongs_to_the_next_token_is_left_to_the_model():
    """The tokenizer merges `. T`, so that no token ends behind the first step or its text."""
    tokenizer = bytes_tokenizer()
    steps = ["The cat sat. ", "The dog ran."]
    whole = tokenizer("".join(steps), add_special_tokens=False)["input_ids"]
    begun = begin(tokenizer, steps, 1)
    text = tokenizer.decode(begun.partial.tokens)
    assert text == begun.partial.text
    assert text in ("The cat sat. ", "The cat sat.")
    assert begun.as_a_whole == ([*begun.partial.tokens] == whole[: len(begun.partial.tokens)])


def test_tokens_that_do_not_spell_the_text_are_refused():
    from tokenizers import normalizers

    tokenizer = bytes_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(Failure, match="does not spell"):
        begin(tokenizer, ["One.\n", "Two."], 1)
