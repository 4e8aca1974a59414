"""(question, whole or partial answer) to the token ids of one plain sequence.

The contract, for training, scoring, serving and search alike: the chat template renders the question
and one assistant turn with the answer, and the rendered text is tokenized as
`apply_chat_template(tokenize=True)` does, with `add_special_tokens=False`. So BOS stands where the
template renders it and is never doubled, and the end-of-turn tokens stand behind the answer, partial or
not: the reward of an answer's prefix (a process reward, paper, section 3.2) and the reward of a
whole answer are read at the same kind of place. No token of ours is inserted. Each prefix is rendered
and tokenized on its own: a template may trim it, and a tokenizer may merge across a step's end.

It travels with published models: it imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: For a tokenizer without a chat template, such as a plain base model's or an encoder's. Roles are plain
#: text; a turn ends with EOS (for encoders: CLS first, SEP behind). Training saves it with the checkpoint.
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

    Raises ValueError for anything but a text or a non-empty sequence of messages whose `role` and
    `content` are strings.
    """
    if isinstance(question, str):
        if not question:
            raise ValueError("the question is empty: give a text or chat messages")
        return [{"role": "user", "content": question}]
    if not isinstance(question, Sequence) or isinstance(question, bytes):
        raise ValueError(f"a question is a text or a list of chat messages, not {type(question).__name__}")
    if not question:
        raise ValueError("the question has no messages: give a text or at least one message")
    checked: list[dict[str, Any]] = []
    for index, message in enumerate(question):
        if not isinstance(message, Mapping):
            raise ValueError(
                f"message {index} of the question is not a dictionary with 'role' and 'content', "
                f"but {type(message).__name__}"
            )
        for key in ("role", "content"):
            if not isinstance(message.get(key), str):
                raise ValueError(f"message {index} of the question needs a text as its {key!r}: {message!r}")
        checked.append(dict(message))
    return checked


def encode(tokenizer: Any, question: str | Sequence[Mapping[str, Any]], answer: str, suffix: str = "") -> list[int]:
    """The token ids of the question and a whole or partial answer, as one plain sequence.

    `suffix` is text behind the rendered conversation, where a checkpoint's config records one.
    Raises ValueError where the tokenizer has no chat template, or the template does not render the
    question or the answer as it is (white space aside, which many templates trim).
    """
    return encode_prefixes(tokenizer, question, [answer], suffix)[0]


def encode_prefixes(
    tokenizer: Any, question: str | Sequence[Mapping[str, Any]], steps: Sequence[str], suffix: str = ""
) -> list[list[int]]:
    """One sequence a step: the question with the answer up to and including that step. See `encode`."""
    if isinstance(steps, str) or not all(isinstance(step, str) for step in steps):
        raise ValueError("the steps of an answer are a list of texts")
    conversation = messages(question)
    rendered = [_render(tokenizer, conversation, "".join(steps[: index + 1])) + suffix for index in range(len(steps))]
    if not rendered:
        return []
    # `verbose=False`: over-long sequences are counted or marked by whoever uses them, not warned about here.
    return tokenizer(rendered, add_special_tokens=False, padding=False, truncation=False, verbose=False)["input_ids"]


def _render(tokenizer: Any, conversation: list[dict[str, Any]], answer: str) -> str:
    if not tokenizer.chat_template:
        raise ValueError(
            "the tokenizer has no chat template, so it is not known how the model reads a conversation. Set "
            "`tokenizer.chat_template` to the model's own, or, to train a model that has none, to "
            "openprm.scoring.encoding.DEFAULT_CHAT_TEMPLATE, and save the tokenizer with the checkpoint"
        )
    turn = {"role": "assistant", "content": answer}
    rendered = tokenizer.apply_chat_template([*conversation, turn], tokenize=False)
    visible = _squeeze(rendered)
    # Earlier assistant turns are left out here: templates of reasoning models drop their thoughts on purpose.
    for message in [*(message for message in conversation if message["role"] != "assistant"), turn]:
        if _squeeze(message["content"]) not in visible:
            raise ValueError(
                f"the chat template does not render the {message['role']}'s message as it is: "
                f"{message['content'][:80]!r} is not in the rendered text (thoughts in <think> tags, for instance, "
                "are dropped by some templates). Use a template that renders it"
            )
    return rendered


def _squeeze(text: str) -> str:
    return "".join(text.split())
