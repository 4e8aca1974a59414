"""How a question becomes the token ids of a prompt, and where a response ends: alike in every engine that we run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import Failure
from ..schema import Message
from .base import Sampling


def encode_prompt(tokenizer: Any, question: Sequence[Message], sampling: Sampling) -> list[int]:
    """The token ids of a prompt. Raises jinja2.TemplateError where the chat template does not take the question."""
    text = tokenizer.apply_chat_template(
        sampling.conversation(question),
        chat_template=sampling.chat_template,
        add_generation_prompt=True,
        tokenize=False,
    )
    # the template renders BOS itself; what is too long is a failure of its own, not a warning
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def end_ids(tokenizer: Any, configured: int | list[int] | None) -> list[int]:
    """The tokens that end a turn: the tokenizer's EOS, and those `configured` in the model's generation config."""
    ends = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
    return sorted(token for token in ends if token is not None)


def too_long(length: int, limit: int | None) -> Failure:
    """A prompt of so many tokens leaves no room for a response."""
    reason = f"the prompt takes {length} tokens, the model {limit} in all"
    return Failure(reason, "shorten it, or take a model with a longer context", transient=False)
