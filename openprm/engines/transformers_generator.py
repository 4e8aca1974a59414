"""Sample responses with transformers: for small models, laptops and tests (big runs go to vLLM).

    generator = TransformersGenerator.load("Qwen/Qwen3-0.6B")
    (answers,) = generator.sample([[{"role": "user", "content": "2+2?"}]], Sampling(n=16), seeds=[7])
    answers.samples[3]["text"]

Each sample has a random stream of its own, of its question's seed plus its number: it is the same whatever is sampled
with it and in whatever order, with the same versions and device, but for the last bits of the logits, which depend on
the shape of a batch: where a number of the stream falls that near to the border of two tokens, another may be drawn.
What equal prompts share is computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
    StoppingCriteriaList,
)
from transformers.cache_utils import DynamicLayer

from ..errors import Failure, InputError
from ..schema import Message
from ..scoring.forward import longest_sequence
from .base import Batch, ContinuationRequest, PromptSamples, Report, Sample, SampledBatches, Sampling, no_report
from .chat_prompt import check_template, encode_prompt, end_ids, max_new_tokens, response_text
from .transformers_loading import load_model, load_tokenizer
from .transformers_rows import Continuation, Draw, RowEnds, in_batches, keep_beginnings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SEQUENCES = 64  # generated at a time, unless the caller knows what fits


class TransformersGenerator:
    """A `GenerationEngine` (see `base`) with a causal language model and its tokenizer.

    The model stays on its device and is put into evaluation mode. A response ends at the tokenizer's EOS token or at
    one of those in the model's generation config; nothing else is taken from that config. `batch_size` sequences are
    generated at a time.

    Raises ValueError where there is no end-of-turn token.
    """

    engine = "transformers"
    version: str | None = transformers.__version__

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str = "",
        revision: str | None = None,
        batch_size: int = SEQUENCES,
    ) -> None:
        self.lm = model.eval()
        self.tokenizer = tokenizer
        self.model = name
        self.revision = revision
        self.batch_size = batch_size
        self.end_ids = end_ids(tokenizer, model.generation_config.eos_token_id)
        if not self.end_ids:
            raise ValueError("neither the tokenizer nor the model's generation config names an end-of-turn token")
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r}; make it a whole number from 1")
        # some models (ALiBi, recurrent ones) have no such limit
        self.max_length = longest_sequence(model)
        self.vocabulary: int = model.config.get_text_config().vocab_size

    @classmethod
    def load(
        cls,
        model: str,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        trust_remote_code: bool = False,
        batch_size: int = SEQUENCES,
    ) -> TransformersGenerator:
        """Loads a folder or a Hub id, onto a GPU where there is one. Raises InputError where it cannot be loaded."""
        origin: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        lm = load_model(AutoModelForCausalLM, model, dtype, **origin)
        tokenizer = load_tokenizer(model, **origin)
        if torch.cuda.is_available():
            lm.to("cuda")
        name = Path(model).name if Path(model).exists() else model  # of a folder only its name
        return cls(lm, tokenizer, name=name, revision=revision, batch_size=batch_size)

    def generate(self, batches: Iterable[Batch], sampling: Sampling, report: Report = no_report) -> SampledBatches:
        """See `GenerationEngine`."""
        for batch in batches:
            yield batch, self.sample(batch.questions, sampling, batch.seeds, report)

    def close(self) -> None:
        """The caller's model stays as it is."""

    def sample(
        self,
        questions: Sequence[list[Message]],
        sampling: Sampling,
        seeds: Sequence[int],
        report: Report = no_report,
    ) -> list[PromptSamples]:
        """The samples of each question, in order. Raises InputError where there is no chat template."""
        check_template(self.tokenizer, sampling, self.model)
        limits = (self.max_length, self.vocabulary)
        prompts = [encode_prompt(self.tokenizer, question, sampling, *limits) for question in questions]
        stops = partial(self._holds, sampling.stop) if sampling.stop else None
        rows = [
            ContinuationRequest(prompt, max_new_tokens(len(prompt), sampling, self.max_length), seed + i, stops)
            for prompt, seed in zip(prompts, seeds, strict=True)
            if not isinstance(prompt, Failure)
            for i in range(sampling.n)
        ]
        written = (self._sample(new, sampling.stop) for new in self.continue_tokens(rows, sampling, report))
        return [
            PromptSamples([], seed, prompt)
            if isinstance(prompt, Failure)
            else PromptSamples(list(islice(written, sampling.n)), seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]

    def continue_tokens(
        self, rows: Sequence[ContinuationRequest], sampling: Sampling, report: Report = no_report
    ) -> list[Any]:
        """See `ContinuationEngine`; no row fails. Rows of about the same length are generated together."""
        continuations = [Continuation(row) for row in rows]
        while open_ := [one for one in continuations if not one.ended]:
            rest = [one.rest for one in open_]
            for batch, budget in in_batches(rest, self.batch_size, self.max_length):
                self._write([open_[index] for index in batch], sampling, budget, report)
        return [one.new for one in continuations]

    def _holds(self, texts: Sequence[str], new: Sequence[int]) -> bool:
        """Whether the last tokens hold one of the texts.

        transformers' own criterion takes the vocabulary apart, and fails on tokenizers that are not of its kinds.
        """
        # a character may take as many tokens as it has bytes, and the last token may hold more than the text
        tail = response_text(self.tokenizer, new[-4 * max(map(len, texts)) - 1 :], self.end_ids)
        return any(text in tail for text in texts)

    def _sample(self, tokens: Sequence[int], stop: Sequence[str]) -> Sample:
        text = response_text(self.tokenizer, tokens, self.end_ids)
        stops = [at for one in stop if (at := text.find(one)) >= 0]
        ended = bool(stops) or tokens[-1] in self.end_ids
        return Sample(
            text=text[: min(stops, default=None)],
            n_tokens=len(tokens),
            finish_reason="stop" if ended else "length",
        )

    def _write(self, rows: list[Continuation], sampling: Sampling, budget: int, report: Report) -> None:
        """Generates at most `budget` tokens behind each row; rows that have ended leave once they are the half."""
        width = max(len(one.tokens) for one in rows)
        cache = self._read(rows)
        while rows and budget:
            ends = RowEnds(rows, self.end_ids, report, leave=cache is not None)
            written = self._run(
                [one.tokens for one in rows],
                width,
                budget,
                logits_processor=LogitsProcessorList([Draw(rows, budget, sampling)]),
                stopping_criteria=StoppingCriteriaList([ends]),
                **({} if cache is None else {"past_key_values": cache}),
            )
            budget, width = budget - (written.sequences.shape[1] - width), written.sequences.shape[1]
            if cache is None:
                return
            cache = written.past_key_values
            left = [index for index, one in enumerate(rows) if not one.ended]
            if budget and left:
                self._select(cache, left)
            rows = [rows[index] for index in left]

    def _read(self, rows: Sequence[Continuation]) -> DynamicCache | None:
        """The keys and values of all tokens but the last, computed once for equal prompts and for equal rows; None
        where there are none, and where the model's cannot be taken apart by row.
        """
        texts = [tuple(one.tokens[:-1]) for one in rows]
        if not all(texts) or not self._keeps_keys:
            return None
        distinct = list(dict.fromkeys((text[: one.row.prompt], text) for text, one in zip(texts, rows, strict=True)))
        prompts = list(dict.fromkeys(prompt for prompt, _ in distinct))
        state = {}
        if all(prompts) and len(prompts) < len(distinct):
            # generate() knows the positions of padded prompts in every model; the token that it draws is not used
            cache = self._run(prompts, max(map(len, prompts)), 1).past_key_values
            # a pass reads as many tokens of each row: of those with less behind their prompt the prompt's last, again
            most = max(len(text) - len(prompt) for prompt, text in distinct)
            kept = [max(len(text) - most, 0) for _, text in distinct]
            starts = [cache.get_seq_length() - len(prompt) for prompt, _ in distinct]
            ends = [start + size for start, size in zip(starts, kept, strict=True)]
            keep_beginnings(cache, [prompts.index(prompt) for prompt, _ in distinct], ends, kept)
            state = {"past_key_values": cache}
        wholes = [text for _, text in distinct]
        cache = self._run(wholes, max(map(len, wholes)), 1, **state).past_key_values
        self._select(cache, [wholes.index(text) for text in texts])
        return cache

    def _select(self, cache: DynamicCache, rows: list[int]) -> None:
        cache.batch_select_indices(torch.tensor(rows, device=self.lm.device))

    @cached_property
    def _keeps_keys(self) -> bool:
        """Whether the model's cache holds the keys and values of every token, and nothing else."""
        cache = self._run([self.end_ids[:1]], 1, 1).past_key_values
        return isinstance(cache, DynamicCache) and all(type(layer) is DynamicLayer for layer in cache.layers)

    def _run(self, prompts: Sequence[Sequence[int]], width: int, budget: int, **options: Any) -> Any:
        """What the model's `generate` returns for prompts, padded on the left to `width`."""
        pad = self.end_ids[0]  # masked, or after the end of a finished row: any token does
        input_ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in prompts])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=budget,
            eos_token_id=self.end_ids,
            pad_token_id=pad,
            return_dict_in_generate=True,
        )
        own_config = self.lm.generation_config
        self.lm.generation_config = GenerationConfig()  # which transformers fills open settings from
        try:
            return self.lm.generate(
                input_ids=input_ids.to(self.lm.device),
                attention_mask=mask.to(self.lm.device),
                generation_config=config,
                **options,
            )
        finally:
            self.lm.generation_config = own_config
