"""Sample responses from OpenAI-compatible servers: vLLM, `transformers serve`, commercial ones (see `openai_client`).

generator = ServerGenerator(["http://first:8000/v1", "http://second:8000/v1"], "policy")
for batch, samples in generator.generate(batches, Sampling(n=64)):
    ...
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from typing import Any

from ..errors import Failure, InputError
from ..schema import Message
from .base import Batch, PromptSamples, Report, Sample, Sampling, no_report
from .openai_client import Servers, UnsupportedParameter

#: How models write a thought before their answer.
THINK = "<think>{}</think>"


class ServerGenerator(Servers):
    """A `GenerationEngine` by chat completions of `model`, as the servers call it.

    All samples of a question are asked for in one request, with the question's seed. A server that gives fewer
    (`transformers serve` gives one) is asked again for the rest, with the seed plus the number there are: vLLM counts
    its seeds in the same way, so that the samples do not depend on how many came at once. Whether equal seeds give
    equal samples depends on the servers. An empty message is an empty response. `n_tokens` is None where a server only
    reports the sum over several samples.

    `reasoning`: how the thought that a server gives apart from its answer is put before it; by default as models write
    it that are sampled without a server. A thought that was cut has no end. Without it, thoughts are left out.

    The limit of a response is sent as `max_tokens`, or as `max_completion_tokens` once a server does not support that.
    """

    engine = "openai"
    revision: str | None = None

    def __init__(
        self, servers: Sequence[str], model: str, *, reasoning: str | None = THINK, **connection: Any
    ) -> None:
        if reasoning and not (isinstance(reasoning, str) and reasoning.count("{}") == 1):
            raise InputError(f"reasoning is {reasoning!r}; mark the place of the thought by {{}}, once")
        self._reasoning = reasoning
        self._name = model
        self.model = os.path.basename(model) if os.path.isabs(model) else model  # rows keep only a path's name
        super().__init__(servers, **connection)
        # vLLM reports the tokens of each sample; other servers may refuse what they do not know
        self._extra = {"return_token_ids": True} if self.are_vllm else {}
        self._limit = "max_tokens"

    def generate(
        self, batches: Iterable[Batch], sampling: Sampling, report: Report = no_report
    ) -> Generator[tuple[Batch, list[PromptSamples]], None, None]:
        """See `GenerationEngine`. A question may have some samples, and a failure for the rest."""
        if sampling.chat_template is not None:
            raise InputError("a chat template cannot be sent to every server; start the servers with it instead")
        return self.thread.answer(batches, partial(self._sample, sampling, report), self.has_capacity)

    async def _sample(self, sampling: Sampling, report: Report, question: list[Message], seed: int) -> PromptSamples:
        samples: list[Sample] = []
        try:
            while len(samples) < sampling.n:
                missing = sampling.n - len(samples)
                new = (await self._complete(question, missing, seed + len(samples), sampling))[:missing]
                samples += new
                report(len(new), sum(sample["n_tokens"] or 0 for sample in new))
        except Failure as failure:
            return PromptSamples(samples, seed, failure)
        return PromptSamples(samples, seed)

    async def _complete(self, question: list[Message], n: int, seed: int, sampling: Sampling) -> list[Sample]:
        request = {
            "model": self._name,
            "messages": sampling.conversation(question),
            "n": n,
            "seed": seed,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._limit: sampling.max_new_tokens,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            **self._extra,
        }
        try:
            return await self.post("chat/completions", request, partial(samples_in, reasoning=self._reasoning))
        except UnsupportedParameter as error:
            if error.parameter != "max_tokens" or "max_tokens" not in request:
                raise
            self._limit = "max_completion_tokens"
        return await self._complete(question, n, seed, sampling)


def samples_in(body: Any, reasoning: str | None = THINK) -> list[Sample]:
    """The samples in the body of a chat completion, one or more; `reasoning` as of `ServerGenerator`.

    Raises ValueError for a body of another shape.
    """
    try:
        choices = sorted(body["choices"], key=lambda choice: choice["index"])
        total = (body.get("usage") or {}).get("completion_tokens") if len(choices) == 1 else None
        if not choices:
            raise ValueError("no choices")
        return [_sample(choice, total, reasoning) for choice in choices]
    except (KeyError, TypeError, AttributeError):
        raise ValueError(json.dumps(body)) from None


def _sample(choice: dict[str, Any], total: int | None, reasoning: str | None) -> Sample:
    message = choice["message"]
    text = message["content"] or message.get("refusal") or ""
    # newer vLLMs call it `reasoning`
    thought = message.get("reasoning_content") or message.get("reasoning")
    if thought and reasoning:
        before, after = reasoning.split("{}")
        gap = "" if text[:1].isspace() or not text else "\n\n"
        text = f"{before}{thought}" + (f"{after}{gap}{text}" if text or choice["finish_reason"] != "length" else "")
    reason = choice["finish_reason"]
    if reason in (None, "abort"):  # aborted by the server, which may be shutting down
        raise ValueError(f"a sample ended with {reason!r}")
    tokens = choice.get("token_ids")
    return Sample(
        text=text.encode(errors="replace").decode(),  # half a surrogate pair cannot be stored
        n_tokens=total if tokens is None else len(tokens),
        finish_reason=reason,
    )
