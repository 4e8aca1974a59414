"""Sample responses from OpenAI-compatible servers: vLLM, `transformers serve`, commercial ones (see `fleet`).

generator = ServerGenerator(["http://first:8000/v1", "http://second:8000/v1"], "policy")
for batch, answers in generator.generate(batches, Sampling(n=64)):
    ...
"""

from __future__ import annotations

import json
import os
import urllib.request
import weakref
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any, Unpack

from ..errors import InputError
from ..schema import Message
from .background import in_batches
from .base import Batch, PromptSamples, Report, Sample, Sampling, no_report
from .openai_client import Connection, Fleet
from .openai_endpoint import CHAT, Unanswered, Unsupported

_VERSION_TIMEOUT = 5.0  # seconds


class ServerGenerator:
    """Samples by chat completions of `model`, as the servers call it. The keywords are those of `fleet.Connection`.

    All samples of a question are asked for in one request, with the question's seed. A server that gives fewer
    (`transformers serve` gives one) is asked again for the rest, with the seed plus the number there are: vLLM counts
    its seeds in the same way, so that the samples do not depend on how many came at once. Whether equal seeds give
    equal samples is the servers' matter.

    `finish_reason` is the server's word: "stop", "length", or what else it says ("content_filter"). An empty message
    is an empty response. `n_tokens` is None where a server only tells the sum over several samples.

    The limit of a response goes by `max_tokens`, which every server knows, or by `max_completion_tokens` as soon as a
    server says that it does not support the former.
    """

    engine = "openai"
    revision: str | None = None

    def __init__(self, servers: Sequence[str], model: str, **connection: Unpack[Connection]) -> None:
        self._name = model
        #: A server may know its model by a place, of which rows keep only the name.
        self.model = os.path.basename(model) if os.path.isabs(model) else model
        self._fleet = Fleet(servers, **connection)
        self._limit = "max_tokens"
        self.version = versions(self._fleet.urls)
        self._run: weakref.ref[Generator[Any, None, None]] | None = None

    def generate(
        self, batches: Iterable[Batch], sampling: Sampling, report: Report = no_report
    ) -> Generator[tuple[Batch, list[PromptSamples]], None, None]:
        """See `base.GenerationEngine`. A question may have some samples, and a failure for the rest."""
        if sampling.chat_template is not None:
            raise InputError("a chat template cannot be sent to every server; start the servers with it instead")

        def questions(batch: Batch) -> list[tuple[list[Message], int]]:
            return list(zip(batch.questions, batch.seeds, strict=True))

        async def answer(asked: tuple[list[Message], int]) -> PromptSamples:
            return await self._answer(*asked, sampling, report)

        run = in_batches(batches, questions, answer, self._fleet, self._fleet.concurrency)
        self._run = weakref.ref(run)
        return run

    def close(self) -> None:
        """Ends what still runs. There are no connections otherwise."""
        if self._run is not None and (run := self._run()) is not None:
            run.close()

    async def _answer(self, question: list[Message], seed: int, sampling: Sampling, report: Report) -> PromptSamples:
        samples: list[Sample] = []
        while len(samples) < sampling.n:
            missing = sampling.n - len(samples)
            try:
                new = (await self._ask(question, missing, seed + len(samples), sampling))[:missing]
            except Unanswered as error:
                return PromptSamples(samples, seed, error.failure)
            samples += new
            report(len(new), sum(sample["n_tokens"] or 0 for sample in new))
        return PromptSamples(samples, seed)

    async def _ask(self, question: list[Message], n: int, seed: int, sampling: Sampling) -> list[Sample]:
        limit = self._limit
        request = {
            "model": self._name,
            "messages": sampling.conversation(question),
            "n": n,
            "seed": seed,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            limit: sampling.max_new_tokens,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
        }
        try:
            return await self._fleet.ask(CHAT, request, samples_in)
        except Unsupported as error:
            if error.parameter != "max_tokens" or limit != "max_tokens":
                raise InputError(f"{error}; sample from another server or model") from None
        self._limit = "max_completion_tokens"
        return await self._ask(question, n, seed, sampling)


def samples_in(body: Any) -> list[Sample]:
    """The samples in the body of a chat completion, one or more. Raises ValueError for a body of another shape."""
    try:
        choices = sorted(body["choices"], key=lambda choice: choice["index"])
        total = (body.get("usage") or {}).get("completion_tokens") if len(choices) == 1 else None
        samples = [_sample(choice, total) for choice in choices]
    except (KeyError, TypeError, AttributeError):
        raise ValueError(json.dumps(body)) from None
    if not samples:
        raise ValueError("no choices")
    return samples


def _sample(choice: dict[str, Any], total: int | None) -> Sample:
    text = choice["message"]["content"] or ""
    reason = choice["finish_reason"]
    if reason in (None, "abort"):  # broken off by the server, which may be going down
        raise ValueError(f"a sample ended with {reason!r}")
    tokens = choice.get("token_ids")
    return Sample(
        text=text.encode(errors="replace").decode(),  # half a surrogate pair cannot be stored
        n_tokens=total if tokens is None else len(tokens),
        finish_reason=reason,
    )


def versions(urls: Sequence[str]) -> str | None:
    """What servers tell of their versions (vLLM's do); None where none does."""
    with ThreadPoolExecutor(16) as pool:
        return ", ".join(sorted({version for version in pool.map(_version, urls) if version})) or None


def _version(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url.removesuffix("/v1") + "/version", timeout=_VERSION_TIMEOUT) as reply:
            return str(json.load(reply)["version"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None
