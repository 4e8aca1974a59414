"""A question and a whole or partial answer to the token ids of one plain sequence.

Training, scoring, serving and search do this in the same way: the chat template renders the question and one assistant
turn with the answer, and the text is tokenized as by `apply_chat_template(tokenize=True)`, with
`add_special_tokens=False`. So BOS is where the template renders it, never twice, and the end-of-turn tokens follow the
answer, whole or partial: the reward of a prefix (a process reward; paper, section 3.2) and that of a whole answer are
read at the same token. No other token is inserted. Each prefix is rendered and tokenized separately, since a template
may trim it, and a tokenizer may merge across the end of a step.

Special tokens are the template's alone: where a message spells one ("<|end|>"), it is tokenized as any other text, so
that no answer forges a turn. A template that asks for today's date is given one that never changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain, islice
from typing import Any

from .aggregation import ScoringError

#: The day that templates with today's date are given (`strftime_now`), unless a checkpoint's config records another:
#: the one that Llama 3.1's template names where it knows none.
DEFAULT_DATE = "2024-07-26"
_TODAY = re.compile(r"""\bstrftime_now\(\s*(["'])(.*?)\1\s*\)""")

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

    Raises ScoringError for anything but a text or a non-empty sequence of messages with texts as `role` and `content`.
    """
    if not isinstance(question, Sequence) or isinstance(question, bytes):
        raise ScoringError(f"the question is {type(question).__name__}", "give a text or a list of chat messages")
    if not question:
        raise ScoringError("the question is empty", "give a text or at least one message")
    if isinstance(question, str):
        return [{"role": "user", "content": question}]
    for index, message in enumerate(question):
        if not isinstance(message, Mapping) or not all(
            isinstance(message.get(key), str) for key in ("role", "content")
        ):
            raise ScoringError(f"message {index} of the question is {message!r}", "give texts as 'role' and 'content'")
    return [dict(message) for message in question]


def encode(tokenizer: Any, question: str | Sequence[Mapping[str, Any]], answer: str, suffix: str = "") -> list[int]:
    """The token ids of the question and a whole or partial answer, as one plain sequence.

    `suffix` is text after the rendered conversation, if the checkpoint's config records one. Raises ScoringError for
    what is no question, where the template fails or does not render a message as it is (except for white space, which
    many templates trim), and where the tokenizer cannot read as text a special token that a message spells.
    """
    return next(encode_prefixes(tokenizer, question, [answer], suffix))


def encode_prefixes(
    tokenizer: Any,
    question: str | Sequence[Mapping[str, Any]],
    steps: Sequence[str],
    suffix: str = "",
    date: str = DEFAULT_DATE,
    known: int = 0,
) -> Iterator[list[int]]:
    """One sequence per step from number `known` (0-based) on: the question with the answer up to and including it.

    At most twice as many are made as are asked for, so that a caller can stop at one that is too long. Raises as
    `encode` does, and ScoringError where the template renders a prefix otherwise than the beginning of the whole.
    """
    if isinstance(steps, str) or not all(isinstance(step, str) for step in steps):
        raise ValueError("the steps of an answer are a list of texts")
    conversation = messages(question)
    text = UserText(tokenizer, [*(turn["content"] for turn in conversation), "".join(steps)])
    turns = [{**turn, "content": text.hidden(turn["content"])} for turn in conversation]
    # Earlier assistant turns are not checked: templates of reasoning models drop their thoughts on purpose.
    asked = [(turn["role"], _squeeze(turn["content"])) for turn in turns if turn["role"] != "assistant"]

    def framed(size: int) -> tuple[str, int]:
        """The rendered conversation with the answer's first `size` steps, and how much of it is not these steps."""
        answer = text.hidden("".join(steps[:size]))
        rendered = render(tokenizer, [*turns, {"role": "assistant", "content": answer}], date)
        visible, answer = _squeeze(rendered), _squeeze(answer)
        for role, content in [*asked, ("assistant", answer)]:
            if content not in visible:
                raise ScoringError(
                    f"the chat template does not render the {role}'s message as it is: {content[:80]!r} is not in the "
                    "rendered text without white space (some templates drop thoughts in <think> tags, for instance)",
                    "use a template that renders it",
                )
        return rendered, len(visible) - len(answer)

    whole = framed(len(steps))

    def checked(size: int) -> str:
        rendered, around = whole if size == len(steps) else framed(size)
        if around != whole[1]:
            raise ScoringError(
                f"the chat template renders the first {size} steps otherwise than the beginning of all {len(steps)} "
                "(as templates of reasoning models do with a thought that has not ended)",
                "use a template that renders every answer as it is, or leave the thoughts out",
            )
        return rendered + suffix

    sizes = iter(range(max(known, 1), len(steps) + 1))
    at_once = 2  # tokenizers are faster with several texts
    while block := [(size, checked(size)) for size in islice(sizes, at_once)]:
        yield from text.encode([rendered for size, rendered in block if size > known])
        at_once *= 2


def render(tokenizer: Any, conversation: list[dict[str, Any]], date: str = DEFAULT_DATE, **options: Any) -> str:
    """The conversation as the chat template renders it. Raises ScoringError where there is none, or it fails."""
    if not (options.get("chat_template") or tokenizer.chat_template):
        raise ScoringError(
            "the tokenizer has no chat template, so it is not known how the model reads a conversation",
            "set `tokenizer.chat_template` to the model's own or, to train one that has none, to "
            "openprm.scoring.encoding.DEFAULT_CHAT_TEMPLATE, and save the tokenizer with the checkpoint",
        )
    day = datetime.fromisoformat(date)
    try:
        template = tokenizer.get_chat_template(options.get("chat_template"))
        options["chat_template"] = _TODAY.sub(lambda call: repr(day.strftime(call[2])), template)
        return tokenizer.apply_chat_template(conversation, tokenize=False, **options)
    except Exception as error:  # a template is a program: it may refuse a role, or fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ScoringError(
            f"the chat template does not take the conversation: {reason}",
            "change the question, leave it out, or use a model that reads such conversations",
        ) from error


class UserText:
    """Texts by users, in which special tokens of the tokenizer are text.

    While a template renders the texts, a private-use character stands for each special token that they spell.
    """

    def __init__(self, tokenizer: Any, texts: Iterable[str]) -> None:
        self._tokenizer = tokenizer
        self._special = {one.content: index for index, one in tokenizer.added_tokens_decoder.items() if one.special}
        self._special.pop(tokenizer.unk_token, None)  # which any text may have
        self._pattern = _any_of(tuple(sorted(self._special, key=len, reverse=True)))
        everything = "\0".join(texts)
        spelled = self._special if self._pattern.search(everything) else ()
        signs = (sign for sign in map(chr, range(0xE000, 0xF900)) if sign not in everything)
        self._signs = [(one, next(signs)) for one in sorted(spelled, key=len, reverse=True) if one in everything]

    def hidden(self, text: str) -> str:
        """One of the texts, or a part of one, for the template."""
        for token, sign in self._signs:
            text = text.replace(token, sign)
        return text

    def encode(self, rendered: Sequence[str]) -> list[list[int]]:
        """The token ids of what the template made of hidden texts.

        Raises ScoringError where the tokenizer cannot read special tokens as text.
        """
        ids = self._ids(rendered)
        return [*map(self._literal, rendered, ids)] if self._signs else ids

    def _literal(self, rendered: str, ids: list[int]) -> list[int]:
        parts = [part for part in self._pattern.split(rendered) if part]  # special tokens of the template, and text
        shown = parts
        for token, sign in self._signs:
            shown = [part.replace(sign, token) for part in shown]
        alike, literal = self._ids(parts), self._ids(shown, split_special_tokens=True)
        literal = [one if part in self._special else two for part, one, two in zip(parts, alike, literal, strict=True)]
        special = [[one for one in chain(*found) if one in self._special.values()] for found in (alike, literal)]
        if [*chain(*alike)] != ids or special[0] != special[1]:
            raise ScoringError(
                f"the text spells {', '.join(dict(self._signs))}, and this tokenizer cannot read these as text",
                "leave it out, or write them in another way",
            )
        return [*chain(*literal)]

    def _ids(self, texts: Sequence[str], **options: Any) -> list[list[int]]:
        # `verbose=False`: callers count or mark sequences that are too long
        options |= {"add_special_tokens": False, "padding": False, "truncation": False, "verbose": False}
        return self._tokenizer(list(texts), **options)["input_ids"] if texts else []


@lru_cache(maxsize=8)
def _any_of(texts: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(f"({'|'.join(map(re.escape, texts)) or '(?!)'})")


def _squeeze(text: str) -> str:
    return "".join(text.split())
