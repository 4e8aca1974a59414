"""A question and a whole or partial answer to the token ids of one plain sequence.

Training, scoring, serving and search do this in the same way: the chat template renders the question and one assistant
turn with the answer, and the text is tokenized as by `apply_chat_template(tokenize=True)`, with
`add_special_tokens=False`. So BOS is where the template renders it, never twice, and the end-of-turn tokens follow the
answer, whole or partial: the reward of a prefix (a process reward; paper, section 3.2) and that of a whole answer are
read at the same token. No other token is inserted. Each prefix is rendered and tokenized separately, since a template
may trim it, and a tokenizer may merge across the end of a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: For a tokenizer without a chat template, such as a base model's or an encoder's. Roles are plain text; a turn ends
#: with EOS (for encoders: CLS first, SEP last). Training saves it with the checkpoint.
DEFAULT_CHAT_TEMPLATE = (
    "{{- bos_token or cls_token or '' -}}"
    "{%- for message in messages -%}"
    "{%- if not loop.first -%}{{- '\\n' -}}{%- endif -%}"
    "{{- message['role'] + ':\\n' + message['content'] -}}{{- eos_token or sep_token or '' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '\\nassistant:\\n' -}}{%- endif -%}"
)


def messages(question: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The question as chat messages; text becomes one user message.

    Raises ValueError for anything but a text or a non-empty sequence of messages whose `role` and `content` are texts.
    """
    if not isinstance(question, Sequence) or isinstance(question, bytes):
        raise ValueError(f"a question is a text or a list of chat messages, not {type(question).__name__}")
    if not question:
        raise ValueError("the question is empty: give a text or at least one message")
    if isinstance(question, str):
        return [{"role": "user", "content": question}]
    for index, message in enumerate(question):
        if not isinstance(message, Mapping) or not all(
            isinstance(message.get(key), str) for key in ("role", "content")
        ):
            raise ValueError(f"message {index} of the question needs texts as 'role' and 'content': {message!r}")
    return [dict(message) for message in question]


def encode(tokenizer: Any, question: str | Sequence[Mapping[str, Any]], answer: str, suffix: str = "") -> list[int]:
    """The token ids of the question and a whole or partial answer, as one plain sequence.

    `suffix` is text after the rendered conversation, if the checkpoint's config records one. Raises ValueError if the
    tokenizer has no chat template, or if the template does not render the question or the answer as it is (except for
    white space, which many templates trim).
    """
    return encode_prefixes(tokenizer, question, [answer], suffix)[0]


def encode_prefixes(
    tokenizer: Any, question: str | Sequence[Mapping[str, Any]], steps: Sequence[str], suffix: str = ""
) -> list[list[int]]:
    """One sequence per step: the question with the answer up to and including that step. See `encode`."""
    if isinstance(steps, str) or not all(isinstance(step, str) for step in steps):
        raise ValueError("the steps of an answer are a list of texts")
    conversation = messages(question)
    rendered = [_render(tokenizer, conversation, "".join(steps[: index + 1])) + suffix for index in range(len(steps))]
    if not rendered:
        return []
    # `verbose=False`: callers count or mark sequences that are too long
    return tokenizer(rendered, add_special_tokens=False, padding=False, truncation=False, verbose=False)["input_ids"]


def _render(tokenizer: Any, conversation: list[dict[str, Any]], answer: str) -> str:
    if not tokenizer.chat_template:
        raise ValueError(
            "the tokenizer has no chat template, so it is not known how the model reads a conversation. Set "
            "`tokenizer.chat_template` to the model's own or, to train a model that has none, to "
            "openprm.scoring.encoding.DEFAULT_CHAT_TEMPLATE, and save the tokenizer with the checkpoint"
        )
    turn = {"role": "assistant", "content": answer}
    rendered = tokenizer.apply_chat_template([*conversation, turn], tokenize=False)
    visible = _squeeze(rendered)
    # Earlier assistant turns are not checked: templates of reasoning models drop their thoughts on purpose.
    for message in [*(message for message in conversation if message["role"] != "assistant"), turn]:
        if _squeeze(message["content"]) not in visible:
            raise ValueError(
                f"the chat template does not render the {message['role']}'s message as it is: "
                f"{message['content'][:80]!r} is not in the rendered text (some templates drop thoughts in <think> "
                "tags, for instance). Use a template that renders it"
            )
    return rendered


def _squeeze(text: str) -> str:
    return "".join(text.split())
