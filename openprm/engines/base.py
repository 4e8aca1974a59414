"""The interface of all engines: questions in, samples out; token sequences in, rewards or continuations out.

    for batch, answers in generator.generate(batches, sampling):
        ...
    step_rewards = rewarder.rewards([list(encode_prefixes(tokenizer, question, steps))])

The modules `transformers_*` and `vllm_*` (in this process), `openai_generator` (any OpenAI-compatible servers) and
`openai_rewards` (vLLM's servers) implement it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from ..errors import Failure
from ..runs.progress import Report
from ..schema import Message


def no_report(rows: float, tokens: int) -> None:
    """A `Report` for callers that do not watch."""


class Sample(TypedDict):
    """One sampled response.

    `text` is without the end-of-turn token, special tokens and the stop string. `n_tokens` counts them, and is None
    where a server does not report it. `finish_reason` is "stop", or "length" where `max_new_tokens` cut the response,
    or another reason of a server ("content_filter").
    """

    text: str
    n_tokens: int | None
    finish_reason: str


@dataclass(frozen=True)
class Sampling:
    """How to sample. Defaults are the paper's (section 4.1, appendix B.2), except for the length limit.

    `system_prompt` goes before each question that has no system message of its own. `chat_template` (Jinja)
    replaces the model's own.
    """

    n: int = 64
    temperature: float = 0.5
    top_p: float = 1.0
    max_new_tokens: int = 1024
    stop: tuple[str, ...] = ()
    seed: int = 0
    system_prompt: str | None = None
    chat_template: str | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n is {self.n}; sample at least one response")
        if not self.temperature >= 0 or not 0 < self.top_p <= 1:
            raise ValueError("temperature is at least 0, top_p above 0 and at most 1")
        if self.temperature == 0 and self.n > 1:
            raise ValueError("greedy samples of one prompt are all alike: use n=1, or a temperature above 0")
        if self.max_new_tokens < 1:
            raise ValueError("max_new_tokens is at least 1")
        if "" in self.stop:
            raise ValueError("a stop string is empty")

    def conversation(self, question: Sequence[Message]) -> list[Message]:
        """The question as the model reads it."""
        question = [Message(role=turn["role"], content=turn["content"]) for turn in question]
        if self.system_prompt is None or question[0]["role"] == "system":
            return question
        return [Message(role="system", content=self.system_prompt), *question]


@dataclass(frozen=True)
class Batch:
    """Questions, each with a seed, whose samples are kept together: what a killed run loses at most."""

    index: int
    questions: Sequence[list[Message]]
    seeds: Sequence[int]


@dataclass(frozen=True)
class PromptSamples:
    """The samples of one question, with the seed they were drawn with (None where the engine does not take one).

    Fewer than asked for only with a `failure`, which says why the rest is missing.
    """

    samples: Sequence[Sample]
    seed: int | None
    failure: Failure | None = None


#: Each batch with the samples of its questions, in the questions' order.
SampledBatches = Iterator[tuple[Batch, list[PromptSamples]]]


class GenerationEngine(Protocol):
    """Samples responses."""

    engine: str  #: "transformers", "vllm" or "openai"
    version: str | None  #: of that library, or of a server that reports one
    model: str  #: as the engine knows it
    revision: str | None  #: the Hub's commit, where it came from there

    def generate(self, batches: Iterable[Batch], sampling: Sampling, report: Report = no_report) -> SampledBatches:
        """Takes batches while the engine has capacity; they may come back in another order.

        A question that cannot be answered (longer than the model's context) is a failure of its own. Raises InputError
        where nothing can be sampled at all.
        """

    def close(self) -> None:
        """Frees what the engine holds: processes, memory, connections."""


@dataclass(frozen=True)
class ContinuationRequest:
    """A sequence to continue.

    tokens: the prompt and the response so far
    budget: how many tokens it may grow by, at least one; the model's context holds them
    seed: of the sequence's random stream
    is_complete: whether it has grown enough, by the ids of the new tokens; asked after each, except after an
        end-of-turn token and the last of the budget, which end it anyway. None where only these do.
    stop: a text in what is new that says the same as `is_complete`, for an engine that looks for texts faster
    prompt: how many of the tokens are the prompt, which rows of a question share
    """

    tokens: list[int]
    budget: int
    seed: int
    is_complete: Callable[[Sequence[int]], bool] | None = None
    stop: str | None = None
    prompt: int = 0


class ContinuationEngine(GenerationEngine, Protocol):
    """A generator that continues partial responses from their token ids.

    `transformers` and `vllm` do. A server cannot: its interface takes texts, and a text tokenized again may not be
    the tokens that were generated.
    """

    tokenizer: Any
    end_ids: list[int]  #: the tokens that end a turn
    max_length: int | None  #: of prompt and response together, in tokens; None where there is no limit
    vocabulary: int  #: the model has embeddings for smaller token ids only

    def continue_tokens(
        self, rows: Sequence[ContinuationRequest], sampling: Sampling, report: Report = no_report
    ) -> list[list[int] | Failure]:
        """The new tokens of each row, an end-of-turn token included, in order.

        Of `sampling` only temperature and top_p count. Raises InputError where the engine has died.
        """


class RewardEngine(Protocol):
    """Rewards token sequences by a sequence-classification model with one label."""

    max_length: int  #: longest sequence the model takes, in tokens

    def rewards(self, groups: Sequence[Sequence[Sequence[int]]], report: Report = no_report) -> list[list[float]]:
        """The raw reward (a logit) of each sequence of each group, read at its last token, in the order given.

        A group is sequences that share prefixes, such as the growing prefixes of one answer: what they share is
        computed once, where the engine can. A reward is the same whatever else is rewarded with it, up to the
        arithmetic of its dtype. Raises ValueError for a sequence that is empty, or too long where the engine sees
        that, and InputError where nothing can be rewarded anymore (no server answers).
        """

    def close(self) -> None:
        """Frees what the engine holds."""


@dataclass(frozen=True)
class Probe:
    """A sequence of tokens, and what is wanted of a model at places in it.

    tokens: the sequence, [L]
    places: positions from 0; at place p the model has read `tokens[: p + 1]`
    wanted: for each place, ids of next tokens (of a `Head`: of its outputs)
    """

    tokens: Sequence[int]
    places: Sequence[int]
    wanted: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Head:
    """Linear layers, with ReLU between several, over the hidden states of a backbone, instead of a vocabulary.

    weights: how the names of its tensors begin: those of `score` are `score.weight`, or `score.0.weight` and so on
    file: the file of the checkpoint that holds them; None: the files of the model
    classes: whether its outputs are logits of classes; else they are values
    """

    weights: str = "score"
    file: str | None = None
    classes: bool = True


class Prober(Protocol):
    """Reads what a model says at places of token sequences.

    It is made of a model, `revision`, `dtype`, `trust_remote_code`, options of the engine, and `head`: None for the
    next tokens of a causal language model.
    """

    max_length: int  #: longest sequence the model takes, in tokens
    vocabulary: int  #: the model has embeddings for smaller token ids only
    outputs: int  #: how many next tokens, classes or values there are to want

    def probe(self, rows: Sequence[Probe], report: Report = no_report) -> list[list[list[float]] | Failure]:
        """For each place of each row, the log-probability (natural, in float32) of each wanted next token or class; of
        a head without classes its outputs as they are.

        The same whatever else is probed with it, up to the arithmetic of its dtype. Raises ValueError for a sequence
        that is empty or too long.
        """

    def close(self) -> None:
        """Frees what the engine holds."""


def check_lengths(groups: Sequence[Sequence[Sequence[int]]], max_length: int) -> None:
    """Raises ValueError for a sequence that is empty or longer than `max_length` tokens."""
    for length in (len(sequence) for group in groups for sequence in group):
        if not 0 < length <= max_length:
            raise ValueError(f"a sequence has {length} tokens; this model takes 1 to {max_length}")


def prompt_seed(seed: int, prompt_id: str) -> int:
    """A seed of 31 bits for one prompt's samples, wherever the prompt stands in the file."""
    digest = hashlib.blake2b(f"{seed}\0{prompt_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
