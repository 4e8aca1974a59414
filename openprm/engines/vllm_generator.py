"""Sample with vLLM in this process (see `vllm_engine`): for the GPUs of one machine (`openai_generator`: of several).

    generator = VllmGenerator("meta-llama/Llama-3.1-8B-Instruct", tensor_parallel_size=2)
    for batch, answers in generator.generate(batches, sampling):
        ...
    generator.close()

A sample is drawn from its own seed, whatever else is sampled with it, so it can be repeated as far as the model's
arithmetic does not depend on the rest of a batch: in float32 on a CPU it does not. bfloat16 and GPU kernels round by
the shape of a batch; for some GPUs vLLM has a batch-invariant mode (`VLLM_BATCH_INVARIANT=1`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import Failure, first_line
from ..schema import Message
from .base import Batch, ContinuationRequest, PromptSamples, Report, Sample, SampledBatches, Sampling, no_report
from .chat_prompt import check_template, encode_prompt, end_ids, max_new_tokens
from .event_loop import gathered
from .vllm_engine import VllmEngine

if TYPE_CHECKING:
    from vllm import CompletionOutput, SamplingParams

T = TypeVar("T")

#: Batches are taken while fewer sequences are unfinished than this many times what the engine runs at once.
AHEAD = 2
_ENDS = ("stop", "length")  # finish reasons of whole samples


class VllmGenerator(VllmEngine):
    """A `GenerationEngine` (see `base`) with vLLM.

    Batches overlap: the next one is taken while the longest responses of those before are still being generated. The
    samples of a question are one request with its seed, of which vLLM draws the i-th sample from `seed + i`. A
    response ends at the tokenizer's EOS token or one of those in the model's generation config; nothing else is taken
    from that config. A response that is cut inside a character ends before it.

    Raises InputError as `VllmEngine` does; when sampling, where there is no chat template or vLLM's engine has died.
    """

    def __init__(self, model: str | Path, *, dtype: str = "auto", **engine_args: Any) -> None:
        # generation_config: vLLM's own defaults of sampling, not the model's
        fixed: dict[str, Any] = {"dtype": dtype, "runner": "generate", "generation_config": "vllm"}
        super().__init__(model, **fixed, **engine_args)
        settings = self.llm.vllm_config
        self._capacity = AHEAD * settings.scheduler_config.max_num_seqs * settings.parallel_config.data_parallel_size
        self.tokenizer: Any = self.llm.get_tokenizer()
        self.end_ids = end_ids(self.tokenizer, settings.model_config.try_get_generation_config().get("eos_token_id"))

    def generate(self, batches: Iterable[Batch], sampling: Sampling, report: Report = no_report) -> SampledBatches:
        """See `GenerationEngine`. A loop that is left early leaves nothing running."""
        check_template(self.tokenizer, sampling, self.model)
        with self.alive():
            yield from self.thread.answer(batches, partial(self._answer, sampling, report), self._has_capacity)

    def continue_tokens(
        self, rows: Sequence[ContinuationRequest], sampling: Sampling, report: Report = no_report
    ) -> list[list[int] | Failure]:
        """See `ContinuationEngine`. Rows share prefixes through the prefix cache."""

        async def continued(row: ContinuationRequest) -> list[int] | Failure:
            new = await _attempt(self._continue(row, sampling))
            report(1, 0 if isinstance(new, Failure) else len(new))
            return new

        with self.alive():
            return self.thread.run(gathered(map(continued, rows)))

    async def _continue(self, row: ContinuationRequest, sampling: Sampling) -> list[int] | Failure:
        one = replace(sampling, n=1, stop=() if row.stop is None else (row.stop,))
        params = self._params(one, row.seed, row.budget)
        if row.is_complete is None or row.stop is not None:
            (found,) = (await self.sample(row.tokens, params)).outputs
            return list(found.token_ids) if found.finish_reason in _ENDS else _gave_up(found)
        return await self._continue_until(row, params)

    async def _continue_until(self, row: ContinuationRequest, params: SamplingParams) -> list[int] | Failure:
        """vLLM generates ahead of its reader, so the row ends at the first token that completes it."""
        from vllm.sampling_params import RequestOutputKind

        assert row.is_complete is not None
        params.output_kind = RequestOutputKind.DELTA
        params.detokenize = False
        new: list[int] = []
        async with aclosing(self.stream(row.tokens, params)) as outputs:
            async for output in outputs:
                (found,) = output.outputs
                for token in found.token_ids:
                    new.append(token)
                    if token in self.end_ids or len(new) == row.budget or row.is_complete(new):
                        return new
        return _gave_up(found)

    def _has_capacity(self) -> bool:
        return self.llm.get_num_unfinished_requests() < self._capacity

    async def _answer(self, sampling: Sampling, report: Report, question: list[Message], seed: int) -> PromptSamples:
        prompt = encode_prompt(self.tokenizer, question, sampling, self.max_length, self.vocabulary)
        if isinstance(prompt, Failure):
            return PromptSamples([], seed, prompt)
        params = self._params(sampling, seed, max_new_tokens(len(prompt), sampling, self.max_length))
        output = await _attempt(self.sample(prompt, params))
        if isinstance(output, Failure):
            return PromptSamples([], seed, output)
        report(len(output.outputs), sum(len(one.token_ids) for one in output.outputs))
        samples = [
            Sample(text=one.text, n_tokens=len(one.token_ids), finish_reason=one.finish_reason)
            for one in output.outputs
            if one.finish_reason in _ENDS
        ]
        failures = [_gave_up(one) for one in output.outputs if one.finish_reason not in _ENDS]
        return PromptSamples(samples, seed, next(iter(failures), None))

    def _params(self, sampling: Sampling, seed: int, budget: int) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            n=sampling.n,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=budget,
            stop=list(sampling.stop),
            stop_token_ids=self.end_ids,
            seed=seed,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


async def _attempt(request: Awaitable[T]) -> T | Failure:
    """What the request gives, or why vLLM refuses it."""
    from vllm.exceptions import VLLMClientError

    try:
        return await request
    except VLLMClientError as error:
        return Failure(first_line(error), "change the question or leave it out")


def _gave_up(output: CompletionOutput) -> Failure:
    return Failure(f"vLLM gave up: {output.finish_reason}", "try again", transient=True)
