"""Sampling with transformers and with vLLM, on one small model.

Samples per second of both, and the share of time that our code adds to that of the engine itself: the whole sampling
stage (prompts read, rendered and tokenized, texts, shards, the finished dataset), against the same sequences sampled
by the engine from token ids that are there already.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

from benchmarks.timing import Comparison, compare
from openprm.engines.base import Batch, GenerationEngine, Sampling, prompt_seed
from openprm.engines.chat_prompt import encode_prompt
from openprm.engines.specs import GeneratorSpec
from openprm.engines.transformers_generator import TransformersGenerator
from openprm.presets import toy_domain as tiny
from openprm.runs.dataset import finish_dataset
from openprm.runs.folder import batched, read_rows, write_shard
from openprm.runs.manifest import run_stage
from openprm.schema import SCHEMA_VERSION, Message, Prompt
from openprm.stages.sample import SampleResponses

if TYPE_CHECKING:
    from openprm.engines.vllm_generator import VllmGenerator

QUESTIONS, BATCH = 32, 8
SAMPLING = Sampling(n=16, temperature=1.0, max_new_tokens=160)
SAMPLES = QUESTIONS * SAMPLING.n
TOGETHER = 4  # questions that transformers generates at a time: 64 sequences


def save_model(folder: Path) -> None:
    """A Llama of 0.4 million random weights. vLLM on a CPU takes no heads narrower than 32."""
    tokenizer = tiny.tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def prompts() -> list[Prompt]:
    texts = [dial.question for dial in tiny.dials(QUESTIONS, seed=0)]
    return [
        Prompt(
            schema_version=SCHEMA_VERSION,
            prompt_id=f"p{index}",
            source="dial",
            question=[Message(role="user", content=text)],
            reference=None,
        )
        for index, text in enumerate(texts)
    ]


def questions() -> list[Batch]:
    """With the seeds that the stage gives them."""
    return [
        Batch(
            index,
            [prompt["question"] for prompt in some],
            seed=index,
            seeds=[prompt_seed(0, prompt["prompt_id"]) for prompt in some],
        )
        for index, some in enumerate(batched(prompts(), BATCH))
    ]


def sampling() -> Iterator[Comparison | str]:
    batches = questions()
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder))
        transformers = TransformersGenerator(
            AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), batch_size=TOGETHER
        )
        yield from added("TransformersGenerator", "model.generate", transformers, batches, _generate(transformers))
        if find_spec("vllm") is None:
            yield "vLLM is not installed: `make bench` measures it too"
            return
        from openprm.engines.vllm_generator import VllmGenerator

        vllm = VllmGenerator(folder, dtype="float32", enforce_eager=True)
        try:
            yield from added("VllmGenerator", "AsyncLLM.generate", vllm, batches, _async_llm(vllm, batches))
            yield compare(
                "sample with vLLM",
                "transformers",
                lambda: answered(vllm, batches),
                lambda: answered(transformers, batches),
                SAMPLES,
                "samples/s",
                repetitions=3,
            )
        finally:
            vllm.close()


def answered(generator: GenerationEngine, batches: list[Batch]) -> int:
    found = list(generator.generate(batches, SAMPLING))
    assert sum(len(answers.samples) for _, batch in found for answers in batch) == SAMPLES
    return sum(sample["n_tokens"] or 0 for _, batch in found for answers in batch for sample in answers.samples)


def added(
    ours: str, plain: str, generator: GenerationEngine, batches: list[Batch], alone: Callable[[], Any]
) -> Iterator[Comparison | str]:
    alone()
    tokens = answered(generator, batches)
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder, "prompts")

        def write(folder: Path) -> dict[str, Any]:
            return finish_dataset(folder, Prompt, "prompts", write_shard(folder, 0, prompts(), Prompt), {})

        run_stage(given, "prompts", {}, {}, write)
        out = Path(folder, "out")
        spec = _Loaded("model", "server", servers=("http://none",), generator=generator)  # no model to look at

        def stage() -> None:
            shutil.rmtree(out, ignore_errors=True)
            values: dict[str, Any] = {
                "n": SAMPLING.n,
                "temperature": SAMPLING.temperature,
                "max_new_tokens": SAMPLING.max_new_tokens,
            }
            made = SampleResponses(
                prompts=str(given), model="model", servers=["http://none"], prompts_per_shard=BATCH, **values
            )
            vars(made)["generator"] = spec  # the engine that is loaded already
            made.run(out)

        stage()
        assert sum(row["n_tokens"] for row in read_rows(out)) == tokens
        measured = compare(f"the stage with {ours}", plain, stage, alone, SAMPLES, "samples/s", repetitions=5)
    yield measured
    yield f"the stage adds {100 * (1 / measured.ratio - 1):+.1f} % to {plain} ({tokens / SAMPLES:.0f} tokens a sample)"


class _Open:
    """A generator that the stage does not close."""

    def __init__(self, generator: GenerationEngine) -> None:
        self.engine, self.version = generator.engine, generator.version
        self.model, self.revision = generator.model, generator.revision
        self.generate = generator.generate

    def close(self) -> None: ...


@dataclass(frozen=True)
class _Loaded(GeneratorSpec):
    """An engine that is there already."""

    generator: Any = None

    def make(self) -> Any:
        return _Open(self.generator)


def _generate(generator: TransformersGenerator) -> Callable[[], None]:
    tokenizer, lm = generator.tokenizer, generator.lm
    config = GenerationConfig(
        max_new_tokens=SAMPLING.max_new_tokens,
        num_return_sequences=SAMPLING.n,
        do_sample=True,
        temperature=SAMPLING.temperature,
        top_k=0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    tokenizer.padding_side = "left"
    inputs: list[tuple[int, Any]] = []
    for batch in questions():
        conversations: Any = batch.questions
        texts = tokenizer.apply_chat_template(conversations, add_generation_prompt=True, tokenize=False)
        for start in range(0, BATCH, TOGETHER):
            group = texts[start : start + TOGETHER]
            encoded = tokenizer(group, add_special_tokens=False, padding=True, return_tensors="pt")
            inputs.append((batch.seed if start == 0 else -1, encoded))

    def alone() -> None:
        for seed, encoded in inputs:
            if seed >= 0:  # the stream of random numbers begins with each batch, as in ours
                torch.manual_seed(seed)
            lm.generate(
                input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"], generation_config=config
            )

    return alone


def _async_llm(generator: VllmGenerator, batches: list[Batch]) -> Callable[[], None]:
    work: list[tuple[Any, Any]] = [
        (
            encode_prompt(generator.tokenizer, question, SAMPLING),
            generator._params(SAMPLING, seed, SAMPLING.max_new_tokens),
        )
        for batch in batches
        for question, seed in zip(batch.questions, batch.seeds, strict=True)
    ]

    async def all_of_it() -> None:
        await asyncio.gather(*(generator.sample(prompt, params) for prompt, params in work))

    return lambda: generator.thread.run(all_of_it())
