r"""Extend partial responses by a step or to their end: the `Generate` of a search (see `step_requests`).

    extend = StepGenerator.load(GeneratorSpec("Qwen/Qwen3-0.6B"), ".\n", Sampling(max_new_tokens=512))
    (found,) = extend([StepRequest(question, PartialResponse(), n=4, seed=0)])
    found[0].partial.steps

What was generated is kept as token ids and never tokenized again. So a response that is generated greedily step by
step is, token by token, the one that is generated in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import islice

from ..errors import Failure, InputError
from ..scoring.steps import split
from .base import ContinuationEngine, ContinuationRequest, Report, Sampling, no_report
from .chat_prompt import check_template, encode_prompt, max_new_tokens, response_text
from .specs import GeneratorSpec
from .step_requests import Extension, PartialResponse, StepRequest

_NO_SPACE = "\0"  # stands for whatever comes next, and is in no separator
_CUT = "\ufffd"  # what a character decodes to while some of its bytes are missing


@lru_cache(maxsize=64)
def is_stop(separator: str) -> bool:
    """Whether a step ends as soon as the text `separator` is written: not a pattern, nor white space, of which more
    may follow and belong to the same step.
    """
    named = split(f"-{separator}-", separator) != [f"-{separator}", "-"]  # such as `line`, which ends no line itself
    return bool(separator.strip()) and not separator.startswith("re:") and not named


def complete_steps(text: str, separator: str) -> list[str]:
    """The steps of an unfinished response whose ends are known, whatever follows (see `openprm.scoring.steps.split`).

    A stop text (`is_stop`) ends a step at once. Where patterns and white space do, only what follows shows the end.
    White space at the very end of a response then still joins its last step.
    """
    return split(text + _NO_SPACE if is_stop(separator) else text.rstrip(_CUT), separator)[:-1]


def check_steps(engine: str, separator: str, sampling: Sampling) -> None:
    """Raises InputError for `stop` or an engine that cannot continue from token ids; ValueError for the separator."""
    if engine == "server":
        raise InputError("servers cannot continue an answer from its token ids; take the engine vllm or transformers")
    if sampling.stop:
        raise InputError("answers made of steps end at the model's end-of-turn token; leave the stop texts out")
    split("", separator)


class StepGenerator:
    """A `Generate` with a language model: all requests of a call are generated together.

    A step ends where `openprm.scoring.steps.split` says, with `separator`. An extension has at least one step more
    than its partial response had, or it is finished: "stop" by the model's end-of-turn token, which is the last of its
    `tokens`, or "length", by `sampling.max_new_tokens` of the whole response or the model's context. Tokens beyond the
    last complete step belong to the next one.

    `n` and `seed` of `sampling` are not used: requests have their own. Raises InputError for `stop`, and without a
    chat template.
    """

    def __init__(self, engine: ContinuationEngine, separator: str, sampling: Sampling) -> None:
        check_steps(engine.engine, separator, sampling)
        check_template(engine.tokenizer, sampling, engine.model)
        self.engine = engine
        self.separator = separator
        self.sampling = sampling

    @classmethod
    def load(cls, spec: GeneratorSpec, separator: str, sampling: Sampling) -> StepGenerator:
        """Raises InputError where the model cannot be loaded, or the engine cannot continue from token ids."""
        check_steps(spec.engine, separator, sampling)
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
        prepared = list(map(self._prepare, requests))
        rows = [
            replace(row, seed=row.seed + i)
            for request, row in zip(requests, prepared, strict=True)
            if isinstance(row, ContinuationRequest)
            for i in range(request.n)
        ]
        written = iter(self.engine.continue_tokens(rows, self.sampling, report))
        return [
            self._extensions(request, row.budget, list(islice(written, request.n)))
            if isinstance(row, ContinuationRequest)
            else row
            for request, row in zip(requests, prepared, strict=True)
        ]

    def _prepare(self, request: StepRequest) -> ContinuationRequest | list[Extension] | Failure:
        """What to generate for a request, or its result where nothing can be generated."""
        limits = (self.engine.max_length, self.engine.vocabulary)
        prompt = encode_prompt(self.engine.tokenizer, request.question, self.sampling, *limits)
        if isinstance(prompt, Failure):
            return prompt
        so_far = request.partial
        text = self._text(so_far.tokens)
        budget = max_new_tokens(len(prompt), self.sampling, self.engine.max_length) - len(so_far.tokens)
        if budget < 1:
            whole = PartialResponse(tuple(split(text, self.separator)), so_far.tokens, "length")
            return [Extension(whole, 0)] * request.n
        inside = text != so_far.text  # so the separator may start before what is new
        return ContinuationRequest(
            tokens=[*prompt, *so_far.tokens],
            budget=budget,
            seed=request.seed,
            is_complete=None if request.whole else partial(self._has_new_step, so_far, text),
            stop=self.separator if is_stop(self.separator) and not request.whole and not inside else None,
            prompt=len(prompt),
        )

    def _has_new_step(self, so_far: PartialResponse, text: str, new: Sequence[int]) -> bool:
        """Whether the new tokens give the response, whose text so far is `text`, one more complete step."""
        # first by the text after the last complete step alone, which is short
        if not complete_steps(text[len(so_far.text) :] + self._text(new), self.separator):
            return False
        return len(complete_steps(self._text([*so_far.tokens, *new]), self.separator)) > len(so_far.steps)

    def _extensions(
        self, request: StepRequest, budget: int, written: Sequence[list[int] | Failure]
    ) -> list[Extension] | Failure:
        extensions = []
        for new in written:
            if isinstance(new, Failure):
                return new
            tokens = (*request.partial.tokens, *new)
            ended = tokens[-1] in self.engine.end_ids
            reason = "stop" if ended else "length" if len(new) == budget else None
            text = self._text(tokens)
            steps = split(text, self.separator) if reason else complete_steps(text, self.separator)
            extensions.append(Extension(PartialResponse(tuple(steps), tokens, reason), len(new)))
        return extensions

    def _text(self, tokens: Sequence[int]) -> str:
        return response_text(self.engine.tokenizer, tokens, self.engine.end_ids)
