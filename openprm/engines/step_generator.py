r"""Extend partial answers by a step, or to their end: the `Generate` of a search (see
`openprm.engines.step_requests`).

    extend = StepGenerator.load(GeneratorSpec("Qwen/Qwen3-0.6B"), ".\n", Sampling(max_new_tokens=512))
    (found,) = extend([StepRequest(question, PartialResponse(), n=4, seed=0)])
    found[0].partial.steps

What was generated is kept as token ids and never tokenized again. So an answer that is written greedily step by step
is, token by token, the one that is written in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice

from ..errors import Failure, InputError
from ..scoring.steps import split
from .base import Report, Sampling, no_report
from .chat_prompt import check_template, encode_prompt, max_new_tokens, response_text
from .continuation import ContinuationEngine, ContinuationRequest
from .specs import GeneratorSpec
from .step_requests import Extension, PartialResponse, StepRequest

_NO_SPACE = "\0"  # stands for whatever comes next, and is in no separator
_CUT = "\ufffd"  # what a character decodes to while some of its bytes are missing


@lru_cache(maxsize=64)
def is_stop(separator: str) -> bool:
    """Whether a step ends with the text `separator` and nothing else, as soon as that is written.

    Where a separator is white space, more of it may follow and belong to the same step.
    """
    named = split(f"-{separator}-", separator) != [f"-{separator}", "-"]  # such as `line`, which ends no line itself
    return bool(separator.strip()) and not separator.startswith("re:") and not named


def complete_steps(text: str, separator: str) -> list[str]:
    """The steps of an unfinished answer whose ends are known, whatever follows (see `openprm.scoring.steps.split`).

    A separator that is a text ends a step when it is there (`is_stop`). Where patterns and white space do, only what
    follows shows the end. White space at the very end of an answer then still joins its last step.
    """
    return split(text + _NO_SPACE if is_stop(separator) else text.rstrip(_CUT), separator)[:-1]


def check_engine(spec: GeneratorSpec) -> None:
    """Raises InputError where the engine cannot continue from token ids."""
    if spec.engine == "server":
        raise InputError(
            "servers cannot continue an answer from its token ids; search with the engine vllm or transformers"
        )


@dataclass(frozen=True)
class _Known:
    """What is decided of a request before anything is generated: its rows, or why there are none."""

    request: StepRequest
    rows: list[ContinuationRequest]
    instead: list[Extension] | Failure | None = None


class StepGenerator:
    """A `Generate` with a language model: all requests of a call are generated together.

    A step ends where `openprm.scoring.steps.split` says, with `separator`. An extension has at least one step more
    than its partial answer had, or it is finished: "stop" by the model's end-of-turn token, which is the last of its
    `tokens`, or "length", by `sampling.max_new_tokens` of the whole answer or the model's context. Tokens beyond the
    last complete step belong to the next one.

    Of `sampling`, `n`, `seed` and `stop` are not used: requests say how many and with which seed, and answers end by
    themselves. The i-th of a request's extensions has the seed `seed + i`, where the engine takes seeds (vLLM).
    Raises InputError where there is no chat template, or for `stop`.
    """

    def __init__(self, engine: ContinuationEngine, separator: str, sampling: Sampling) -> None:
        if sampling.stop:
            raise InputError("a search ends answers at the model's end-of-turn token; leave the stop texts out")
        check_template(engine.tokenizer, sampling, engine.model)
        split("", separator)  # raises ValueError for one that cannot be read
        self.engine = engine
        self.separator = separator
        self.sampling = sampling
        self._stop = separator if is_stop(separator) else None

    @classmethod
    def load(cls, spec: GeneratorSpec, separator: str, sampling: Sampling) -> StepGenerator:
        """Raises InputError where the model cannot be loaded, or the engine cannot continue from token ids."""
        check_engine(spec)
        engine = spec.make()
        try:
            return cls(engine, separator, sampling)  # type: ignore[arg-type]
        except ValueError:
            engine.close()
            raise

    def close(self) -> None:
        """Gives back what the engine holds."""
        self.engine.close()

    def __call__(self, requests: Sequence[StepRequest], report: Report = no_report) -> list[list[Extension] | Failure]:
        prompts: dict[str, list[int] | Failure] = {}
        known = [self._prepare(request, prompts) for request in requests]
        rows = [row for one in known for row in one.rows]
        written = iter(self.engine.continue_tokens(rows, self.sampling, report))
        found: list[list[Extension] | Failure] = []
        for one in known:
            new = list(islice(written, len(one.rows)))
            failure = next((tokens for tokens in new if isinstance(tokens, Failure)), None)
            found.append(
                one.instead
                or failure
                or [self._extended(one.request, row, tokens) for row, tokens in zip(one.rows, new, strict=True)]  # type: ignore[arg-type]
            )
        return found

    def _prepare(self, request: StepRequest, prompts: dict[str, list[int] | Failure]) -> _Known:
        """`prompts` are the token ids of the questions seen so far."""
        key = repr(request.question)
        if key not in prompts:
            prompts[key] = encode_prompt(
                self.engine.tokenizer, request.question, self.sampling, self.engine.max_length
            )
        prompt = prompts[key]
        if isinstance(prompt, Failure):
            return _Known(request, [], prompt)
        so_far = request.partial
        budget = max_new_tokens(len(prompt), self.sampling, self.engine.max_length) - len(so_far.tokens)
        if budget < 1:
            steps = tuple(split(self._text(so_far.tokens), self.separator))
            return _Known(request, [], [Extension(PartialResponse(steps, so_far.tokens, "length"), 0)] * request.n)
        text = self._text(so_far.tokens)
        inside = text != so_far.text  # so the separator may start before what is new
        row = ContinuationRequest(
            tokens=[*prompt, *so_far.tokens],
            budget=budget,
            seed=request.seed,
            is_complete=None if request.whole else partial(self._is_step, so_far, text),
            stop=None if request.whole or inside else self._stop,
        )
        return _Known(request, [replace(row, seed=request.seed + i) for i in range(request.n)])

    def _is_step(self, so_far: PartialResponse, text: str, new: Sequence[int]) -> bool:
        """Whether these new tokens give the answer one more complete step."""
        # first by the text after the last complete step alone, which is short
        rest = text[len(so_far.text) :] + self._text(new)
        if self._stop not in rest if self._stop else not complete_steps(rest, self.separator):
            return False
        return len(complete_steps(self._text([*so_far.tokens, *new]), self.separator)) > len(so_far.steps)

    def _extended(self, request: StepRequest, row: ContinuationRequest, new: Sequence[int]) -> Extension:
        tokens = (*request.partial.tokens, *new)
        ended = tokens[-1] in self.engine.end_ids
        reason = "stop" if ended else "length" if len(new) == row.budget else None
        text = self._text(tokens)
        steps = split(text, self.separator) if reason else complete_steps(text, self.separator)
        return Extension(PartialResponse(tuple(steps), tokens, reason), len(new))

    def _text(self, tokens: Sequence[int]) -> str:
        return response_text(self.engine.tokenizer, tokens, self.engine.end_ids)
