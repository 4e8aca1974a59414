"""A question and the steps of an answer as what a declared readout asks of its model (see `openprm.models.readout`).

All of it is rendered by the chat template, as for training (see `openprm.scoring.encoding`). Nobody's text forges a
verdict: special tokens in it are text, and where a marker that is no special token stands in it, the row fails.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import Any

from ..errors import InputError
from ..models.readout import Marker, Question, Readout, Turns
from ..scoring.aggregation import ScoringError
from ..scoring.encoding import DEFAULT_DATE, UserText, messages, render
from .base import Probe

#: Where steps begin and end while a template renders them. `UserText` takes its own signs from the other end.
_START, _END = "\uf8fe", "\uf8ff"


@dataclass(frozen=True)
class Asked:
    """What is asked for one answer: `counts` places, one number a step, belong to each step, in the probes' order."""

    probes: Sequence[Probe]
    counts: Sequence[int]

    def fitting(self, longest: int) -> Asked:
        """What is asked for the first steps, as many as are read within `longest` tokens."""
        read = [place + 1 for probe in self.probes for place in probe.places]
        ends = [*accumulate(self.counts)]
        fits = [*takewhile(lambda end: max(read[:end], default=0) <= longest, ends)]
        left, probes = fits[-1] if fits else 0, []
        for probe in self.probes:
            if places := probe.places[:left]:
                end = min(
                    max(places) + 2, longest
                )  # with a token that is wanted there, which vLLM reads with the rest
                probes.append(Probe(probe.tokens[:end], places, probe.wanted[:left]))
                left -= len(places)
        return Asked(probes, self.counts[: len(fits)])


class ReadoutEncoder:
    """Encodes for one readout. Raises InputError for a marker, or a verdict, that is not one token."""

    def __init__(self, readout: Readout, tokenizer: Any) -> None:
        self._readout = readout
        self._tokenizer = tokenizer
        if isinstance(readout, Marker):
            self._marker = _one_token(tokenizer, readout.text, "the marker", after="x")
        if isinstance(readout, Turns | Question) or (isinstance(readout, Marker) and readout.head == "tokens"):
            named = {"positive": readout.positive, "negative": readout.negative}
            self._wanted = [_one_token(tokenizer, str(text), f"`{key}`") for key, text in named.items()]
        elif isinstance(readout, Marker):
            right = readout.positive
            wrong = 1 - right if isinstance(right, int) and readout.negative is None else readout.negative
            self._wanted = [0] if readout.head == "value" else [int(right or 0), int(wrong or 0)]

    def __call__(self, question: str | Sequence[Mapping[str, Any]], steps: Sequence[str]) -> Asked:
        """Raises ScoringError for an empty answer and for what the template does not render, a step that spells the
        marker or merges with it, and a step without a token of its own.
        """
        response, conversation = "".join(steps), messages(question)
        if not response.strip():
            raise ScoringError("the response is empty", "leave it out, or sample it again")
        everything = [*(turn["content"] for turn in conversation), response]
        if any(sign in text for text in everything for sign in (_START, _END)):
            raise ScoringError(f"the text has {_START!r} or {_END!r} in it, which stand for steps", "leave them out")
        text = UserText(self._tokenizer, everything)
        turns = [{**turn, "content": text.hidden(turn["content"])} for turn in conversation]
        hidden = [text.hidden(step) for step in steps]
        match self._readout:
            case Marker():
                probes = [self._at_markers(text, turns, hidden, self._readout)]
            case Turns():
                probes = [self._at_turns(text, turns, hidden, self._readout)]
            case Question():
                asked = [self._asked(turns, prefix, self._readout) for prefix in accumulate(hidden)]
                probes = [Probe(tokens, [len(tokens) - 1], [self._wanted]) for tokens in text.encode(asked)]
            case _:
                return self._of_the_response(text, turns, steps)
        found = sum(len(probe.places) for probe in probes)
        if found != len(steps):
            raise ScoringError(
                "there are not as many places to read rewards as steps: a step spells the marker or merges with it, "
                "or the chat template changes the answer",
                f"leave it out ({found} places, {len(steps)} steps), or declare marker and template as in training",
            )
        return Asked(probes, [1] * len(steps))

    def _at_markers(self, text: UserText, turns: list[Any], steps: Sequence[str], readout: Marker) -> Probe:
        answer = _START + "".join(
            f"{readout.between if i else ''}{step.strip()}{_END}" for i, step in enumerate(steps)
        )
        rendered = self._render([*turns, {"role": "assistant", "content": answer}])
        head, _, rest = rendered.partition(_START)
        parts = rest.split(_END)
        if readout.apart:
            tokens, *alone = text.encode([head, *parts[:-1]])
            places = []
            for one in alone:
                tokens = [*tokens, *one, self._marker]
                places.append(len(tokens) - 1)
        else:
            tokens, before = text.encode([head + readout.text.join(parts), head])
            marked = [place for place, token in enumerate(tokens) if token == self._marker]
            places = marked[before.count(self._marker) :]
        return Probe(tokens, places, [self._wanted] * len(places))

    def _at_turns(self, text: UserText, turns: list[Any], steps: Sequence[str], readout: Turns) -> Probe:
        first = {"role": "user", "content": f"{turns[-1]['content']}{readout.join}{steps[0].strip()}"}
        asked = [first, *({"role": "user", "content": step.strip()} for step in steps[1:])]
        verdict = {"role": "assistant", "content": _END}
        parts = self._render([*turns[:-1], *(one for turn in asked for one in (turn, verdict))]).split(_END)
        right, wrong = text.encode([word.join(parts) for word in (readout.positive, readout.negative)])
        # the verdicts are where the texts with all right and all wrong ones differ
        pairs = [[*pair] for pair in zip(right, wrong, strict=False)]
        places = [place - 1 for place, pair in enumerate(pairs) if pair == self._wanted and len(right) == len(wrong)]
        return Probe(right, places, [self._wanted] * len(places))

    def _asked(self, turns: list[Any], response: str, readout: Question) -> str:
        parts = {"{question}": turns[-1]["content"], "{response}": response}
        prompt = re.sub("|".join(map(re.escape, parts)), lambda found: parts[found[0]], readout.prompt)
        return self._render([*turns[:-1], {"role": "user", "content": prompt}], True) + (
            "" if readout.critique else readout.verdict
        )

    def _of_the_response(self, text: UserText, turns: list[Any], steps: Sequence[str]) -> Asked:
        (before,) = text.encode([self._render(turns, True)])
        options = {"add_special_tokens": False, "split_special_tokens": True, "return_offsets_mapping": True}
        response = self._tokenizer("".join(steps), verbose=False, **options)
        ends = [*accumulate(map(len, steps))]
        owners = [bisect_left(ends, end) for _, end in response["offset_mapping"]]  # a token is of the step it ends in
        counts = [owners.count(step) for step in range(len(steps))]
        if 0 in counts:
            raise ScoringError(
                f"step {counts.index(0) + 1} has no token of its own: the tokenizer merges it with the next",
                "use steps that end where tokens do, or leave the response out",
            )
        tokens = [*before, *response["input_ids"]]
        places = range(len(before) - 1, len(tokens) - 1)
        return Asked([Probe(tokens, places, [[tokens[place + 1]] for place in places])], counts)

    def _render(self, conversation: list[Any], to_answer: bool = False) -> str:
        return render(self._tokenizer, conversation, DEFAULT_DATE, add_generation_prompt=to_answer)


def _one_token(tokenizer: Any, text: str, what: str, after: str = "") -> int:
    """The token that a text is, alone or behind other text."""

    def ids(text: str) -> list[int]:
        return list(tokenizer.encode(after + text, add_special_tokens=False))[len(before) :]

    before: list[int] = []
    before = ids("") if after else []
    found = ids(text)
    if len(found) != 1 or found == [tokenizer.unk_token_id]:
        near = [one for one in (text.strip(), f" {text.strip()}") if text.strip() and len(ids(one)) == 1]
        raise InputError(
            f"{what} of the readout, {text!r}, has to be one token of the model's tokenizer, and is "
            f"{', '.join(tokenizer.convert_ids_to_tokens(found))}"
            + (f"; {near[0]!r} is one" if near and len(found) > 1 else "; declare the one that it was trained with")
        )
    return found[0]
