"""Sample responses with transformers: for small models, laptops and tests (big runs go to vLLM).

    generator = TransformersGenerator.load("Qwen/Qwen3-0.6B")
    (answers,) = generator.sample([[{"role": "user", "content": "2+2?"}]], Sampling(n=16), seed=7)
    answers.samples[3]["text"]

All samples of one batch draw from one random stream, which starts from the batch's seed: the same questions in the
same order, with the same sampling, batch size, versions and device, give the same samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.cache_utils import DynamicLayer

from ..errors import Failure, InputError
from ..schema import Message
from ..scoring.forward import longest_sequence
from .base import Batch, ContinuationRequest, PromptSamples, Report, Sample, SampledBatches, Sampling, no_report
from .chat_prompt import check_template, encode_prompt, end_ids, max_new_tokens, response_text
from .transformers_loading import load_model, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SEQUENCES = 64  # generated at a time, unless the caller knows what fits


class TransformersGenerator:
    """A `GenerationEngine` (see `base`) with a causal language model and its tokenizer.

    The model stays on its device and is put into evaluation mode. A response ends at the tokenizer's EOS token or at
    one of those in the model's generation config; nothing else is taken from that config. `batch_size` questions are
    generated at a time, `n` sequences each (default: as many as make 64 sequences), or rows to continue.

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
        batch_size: int | None = None,
    ) -> None:
        self.lm = model.eval()
        self.tokenizer = tokenizer
        self.model = name
        self.revision = revision
        self.batch_size = batch_size
        self.end_ids = end_ids(tokenizer, model.generation_config.eos_token_id)
        if not self.end_ids:
            raise ValueError("neither the tokenizer nor the model's generation config names an end-of-turn token")
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
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
        batch_size: int | None = None,
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
            yield batch, self.sample(batch.questions, sampling, batch.seed, report)

    def close(self) -> None:
        """The caller's model stays as it is."""

    def sample(
        self, questions: Sequence[list[Message]], sampling: Sampling, seed: int, report: Report = no_report
    ) -> list[PromptSamples]:
        """The samples of each question, in order; the caller's random state is left as it was.

        Sampled responses depend on the batch size, greedy ones (temperature 0) do not. Raises InputError where there
        is no chat template.
        """
        check_template(self.tokenizer, sampling, self.model)
        limits = (self.max_length, self.vocabulary)
        encoded = [encode_prompt(self.tokenizer, question, sampling, *limits) for question in questions]
        answers = {i: PromptSamples([], seed, one) for i, one in enumerate(encoded) if isinstance(one, Failure)}
        prompts = {i: one for i, one in enumerate(encoded) if not isinstance(one, Failure)}
        budgets = {i: max_new_tokens(len(prompt), sampling, self.max_length) for i, prompt in prompts.items()}
        fitting = [index for index, budget in budgets.items() if budget == sampling.max_new_tokens]
        # prompts that do not leave the whole budget to a response are generated one by one
        narrow = [[index] for index, budget in budgets.items() if budget < sampling.max_new_tokens]
        size = self.batch_size or max(1, _SEQUENCES // sampling.n)
        with self._random(seed):
            for group in [*(fitting[start : start + size] for start in range(0, len(fitting), size)), *narrow]:
                samples = self._generate([prompts[index] for index in group], sampling, budgets[group[0]], report)
                answers |= {index: PromptSamples(some, seed) for index, some in zip(group, samples, strict=True)}
        return [answers[index] for index in range(len(questions))]

    @contextmanager
    def _random(self, seed: int) -> Iterator[None]:
        """A stream of random numbers of its own."""
        device = self.lm.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    def continue_tokens(
        self, rows: Sequence[ContinuationRequest], sampling: Sampling, report: Report = no_report
    ) -> list[list[int] | Failure]:
        """See `ContinuationEngine`. Rows of about the same length are generated together."""
        continuations = [Continuation(row) for row in rows]
        with self._random(rows[0].seed if rows else 0):
            while open_ := [one for one in continuations if not one.ended]:
                rest = [one.rest for one in open_]
                for batch, budget in in_batches(rest, self.batch_size or _SEQUENCES, self.max_length):
                    prompts = [rest[index].tokens for index in batch]
                    ends = RowEnds([open_[index] for index in batch], self.end_ids, report)
                    self._write(prompts, sampling, budget, 1, ends, self._read(prompts))
        return [one.new for one in continuations]

    def _generate(
        self, prompts: list[list[int]], sampling: Sampling, budget: int, report: Report
    ) -> list[list[Sample]]:
        stops = partial(self._holds, sampling.stop) if sampling.stop else None
        n = sampling.n
        rows = [Continuation(ContinuationRequest(prompt, budget, 0, stops)) for prompt in prompts for _ in range(n)]
        self._write(prompts, sampling, budget, n, RowEnds(rows, self.end_ids, report))
        samples = [self._sample(one.new, sampling.stop) for one in rows]
        return [samples[start : start + n] for start in range(0, len(samples), n)]

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

    def _read(self, prompts: list[list[int]]) -> DynamicCache | None:
        """The keys and values of all tokens but the last, which equal prompts share; None where that is no gain."""
        places = {prompt: place for place, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        if len(places) == len(prompts) or min(map(len, places)) < 2:
            return None
        # generate() knows the positions of padded prompts in every model; the token that it draws is not used
        output = self._run([prompt[:-1] for prompt in places], {"max_new_tokens": 1, "return_dict_in_generate": True})
        cache = output.past_key_values
        # only a cache of the keys and values of every token, and nothing else, can be taken apart
        if not (isinstance(cache, DynamicCache) and all(type(layer) is DynamicLayer for layer in cache.layers)):
            return None
        cache.batch_select_indices(torch.tensor([places[tuple(prompt)] for prompt in prompts], device=self.lm.device))
        return cache

    def _write(
        self,
        prompts: list[list[int]],
        sampling: Sampling,
        budget: int,
        n: int,
        ends: RowEnds,
        cache: DynamicCache | None = None,
    ) -> None:
        """Generates behind each prompt, `n` times, at most `budget` tokens, which `ends` collects."""
        settings = {"max_new_tokens": budget, "num_return_sequences": n, "eos_token_id": self.end_ids}
        if sampling.temperature:
            drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
            settings |= {"do_sample": True, **drawn}
        state = {} if cache is None else {"past_key_values": cache}
        self._run(prompts, settings, stopping_criteria=StoppingCriteriaList([ends]), **state)

    def _run(self, prompts: Sequence[Sequence[int]], settings: Mapping[str, Any], **options: Any) -> Any:
        """What the model's `generate` returns for prompts, padded on the left, with these settings and no others."""
        longest = max(map(len, prompts))
        pad = self.end_ids[0]  # masked, or after the end of a finished row: any token does
        input_ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in prompts])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in prompts])
        own_config = self.lm.generation_config
        self.lm.generation_config = GenerationConfig()  # which transformers fills open settings from
        try:
            return self.lm.generate(
                input_ids=input_ids.to(self.lm.device),
                attention_mask=mask.to(self.lm.device),
                generation_config=GenerationConfig(**{"do_sample": False, "pad_token_id": pad, **settings}),
                **options,
            )
        finally:
            self.lm.generation_config = own_config


@dataclass
class Continuation:
    """A row, and what was generated for it so far."""

    row: ContinuationRequest
    new: list[int] = field(default_factory=list)
    ended: bool = False

    @property
    def rest(self) -> ContinuationRequest:
        """The request for the rest."""
        return replace(self.row, tokens=[*self.row.tokens, *self.new], budget=self.row.budget - len(self.new))


def in_batches(rows: Sequence[ContinuationRequest], size: int, max_length: int | None) -> list[tuple[list[int], int]]:
    """Batches of at most `size` rows of about the same length: their indices, and by how many tokens they may grow.

    The longest of a batch must not grow beyond `max_length`, even when it has ended: it is padded until all have, and
    a position that the model does not have would be an error there too. Where others have a larger budget, another
    call continues them. Each call reads its rows again, so a batch grows by at least half of any row's budget.
    """
    batches: list[tuple[list[int], int]] = []
    batch: list[int] = []
    most = 0
    for index in sorted(range(len(rows)), key=lambda index: len(rows[index].tokens)):
        row = rows[index]
        most = max(most, row.budget)
        budget = most if max_length is None else min(most, max_length - len(row.tokens))
        if batch and len(batch) < size and 2 * budget >= most:
            batch.append(index)
            batches[-1] = batch, budget
        else:
            batch, most = [index], row.budget
            batches.append((batch, most))
    return batches


class RowEnds(StoppingCriteria):
    """Ends each row where it says, and keeps what was generated for it until then."""

    def __init__(self, rows: Sequence[Continuation], end_ids: Sequence[int], report: Report) -> None:
        self.rows = rows
        self.end_ids = end_ids
        self.report = report

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        before = sum(not one.ended for one in self.rows)
        for one, token in zip(self.rows, input_ids[:, -1].tolist(), strict=True):
            if not one.ended:
                one.new.append(token)
                enough = one.row.is_complete
                one.ended = token in self.end_ids or len(one.new) == one.row.budget or bool(enough and enough(one.new))
        self.report(before - sum(not one.ended for one in self.rows), before)
        return torch.tensor([one.ended for one in self.rows], device=input_ids.device)
