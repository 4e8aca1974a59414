"""A response that was written elsewhere, as the token ids that a language model goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import Failure
from .chat_prompt import response_text
from .step_requests import PartialResponse


class Begun(NamedTuple):
    """The beginning of a response. as_a_whole: whether its tokens are those with which the whole response begins."""

    partial: PartialResponse
    as_a_whole: bool


def begin(tokenizer: Any, steps: Sequence[str], n: int, end_ids: Sequence[int] = ()) -> Begun:
    """The first n of the steps of a response, to go on from.

    Tokens may reach over the end of a step: of `Four. Two` one is ` Two`, with the blank before it. A model that wrote
    the response never saw a token that ends between them, so the tokens of the whole response are cut: at the end of
    the step, or of its text before white space. Where a token reaches over that too, the beginning is tokenized by
    itself (`as_a_whole` is False), which is not quite what the model would have written.

    Raises Failure where the tokens do not spell the text, as with a tokenizer that normalizes.
    """
    text = "".join(steps[:n])
    if not text.strip():
        return Begun(PartialResponse(), True)
    bare = text.rstrip()
    ends = [text, bare] if n < len(steps) else [text]
    encoded = tokenizer("".join(steps), add_special_tokens=False, return_offsets_mapping=tokenizer.is_fast)
    tokens, offsets = encoded["input_ids"], encoded.get("offset_mapping", [])
    for end in ends:
        cut = sum(stop <= len(end) for _, stop in offsets)
        if response_text(tokenizer, tokens[:cut], end_ids) == end:
            return Begun(_partial(steps[:n], end, tokens[:cut]), True)
    alone = tokenizer(bare, add_special_tokens=False)["input_ids"]
    if response_text(tokenizer, alone, end_ids) != bare:
        raise Failure("the tokenizer does not spell the response", "take a language model whose tokenizer is lossless")
    return Begun(_partial(steps[:n], bare, alone), False)


def _partial(steps: Sequence[str], text: str, tokens: Sequence[int]) -> PartialResponse:
    """With the white space at the end left to the model, where it is not in the tokens."""
    *before, last = steps
    return PartialResponse((*before, last[: len(text) - len("".join(before))]), tuple(tokens))
