"""How a question becomes the token ids of a prompt, and where a response ends: alike in transformers and vLLM."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ..errors import Failure, InputError
from ..schema import Message
from ..scoring.aggregation import ScoringError
from ..scoring.encoding import UserText, render
from ..scoring.scored_answer import check_embedded
from .base import Sampling


def check_template(tokenizer: Any, sampling: Sampling, model: str) -> None:
    """Raises InputError where neither the tokenizer of `model` nor the caller has a chat template."""
    if not (sampling.chat_template or tokenizer.chat_template):
        raise InputError(f"{model} has no chat template; give the one that it was trained with")


def encode_prompt(
    tokenizer: Any,
    question: Sequence[Message],
    sampling: Sampling,
    limit: int | None = None,
    vocabulary: int = sys.maxsize,
) -> list[int] | Failure:
    """The token ids of a prompt; a failure where the chat template does not take the question, where the question
    spells special tokens that the tokenizer cannot read as text, where an id is not below the model's `vocabulary`,
    and where a context of `limit` tokens leaves none for a response.
    """
    conversation = sampling.conversation(question)
    text = UserText(tokenizer, [turn["content"] for turn in conversation])
    turns = [{**turn, "content": text.hidden(turn["content"])} for turn in conversation]
    options: dict[str, Any] = {"chat_template": sampling.chat_template, "add_generation_prompt": True}
    try:
        (ids,) = text.encode([render(tokenizer, turns, **options)])
        check_embedded(tokenizer, ids, vocabulary)
    except ScoringError as error:
        return Failure(error.reason, error.remedy)
    if limit is not None and len(ids) >= limit:
        reason = f"the prompt takes {len(ids)} tokens, the model {limit} in all"
        return Failure(reason, "shorten it, or take a model with a longer context")
    return ids


def max_new_tokens(used: int, sampling: Sampling, limit: int | None) -> int:
    """How many tokens a response may have behind a prompt of `used` tokens."""
    return sampling.max_new_tokens if limit is None else min(sampling.max_new_tokens, limit - used)


def end_ids(tokenizer: Any, configured: int | list[int] | None) -> list[int]:
    """The tokens that end a turn: the tokenizer's EOS, and those `configured` in the model's generation config."""
    ends = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
    return sorted(token for token in ends if token is not None)


def response_text(tokenizer: Any, tokens: Sequence[int], end_ids: Sequence[int]) -> str:
    """The text of generated tokens, without the end-of-turn token."""
    kept = tokens[:-1] if tokens and tokens[-1] in end_ids else tokens
    return tokenizer.decode(list(kept), skip_special_tokens=True, clean_up_tokenization_spaces=False)
