"""Sampling with transformers and with vLLM, on a model with a real vocabulary.

Tokens per second of both, and the share of time that our code adds to that of the engine itself: the whole sampling
stage (prompts read, rendered and tokenized, texts, shards, the finished dataset), against the same sequences sampled
by the engine from token ids that are there already.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.timing import Comparison, compare
from openprm.engines.base import Batch, GenerationEngine, PromptSamples, Sampling, prompt_seed
from openprm.engines.chat_prompt import encode_prompt
from openprm.engines.specs import GeneratorSpec
from openprm.engines.transformers_generator import TransformersGenerator
from openprm.errors import Failure
from openprm.presets import toy_domain as tiny
from openprm.runs.dataset import finish_dataset
from openprm.runs.folder import batched, read_rows, write_shard
from openprm.runs.manifest import run_stage
from openprm.schema import SCHEMA_VERSION, Message, Prompt
from openprm.stages.sample import SampleResponses

if TYPE_CHECKING:
    from openprm.engines.vllm_generator import VllmGenerator

QUESTIONS, BATCH = 4, 4
SAMPLING = Sampling(n=16, temperature=1.0, max_new_tokens=32)
SAMPLES = QUESTIONS * SAMPLING.n
TOGETHER = 4  # questions that transformers generates at a time: 64 sequences
VOCABULARY = 49_152


def save_model(folder: Path) -> None:
    """Random weights in the shape of SmolLM2-135M, and the toy tokenizer with words up to its vocabulary."""
    toy = tiny.tokenizer()
    state = json.loads(toy.backend_tokenizer.to_str())
    state["model"]["vocab"] |= {f" word{index}": index for index in range(len(toy), VOCABULARY)}
    ends: dict[str, Any] = {"pad_token": toy.pad_token, "eos_token": toy.eos_token, "chat_template": toy.chat_template}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)), **ends)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
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
            seeds=[prompt_seed(0, prompt["prompt_id"]) for prompt in some],
        )
        for index, some in enumerate(batched(prompts(), BATCH))
    ]


def sampling(model: str | None = None) -> Iterator[Comparison | str]:
    """With a language model's folder or id, else with random weights."""
    batches = questions()
    with tempfile.TemporaryDirectory() as place:
        folder = model or place
        if model is None:
            save_model(Path(place))
        transformers = TransformersGenerator.load(folder, batch_size=TOGETHER * SAMPLING.n)
        yield f"transformers samples in {transformers.lm.dtype}"
        yield shared_prompt(transformers)
        yield from added("TransformersGenerator", "model.generate", transformers, batches, _generate(transformers))
        if find_spec("vllm") is None:
            yield "vLLM is not installed: `make bench` measures it too"
            return
        from openprm.engines.vllm_generator import VllmGenerator

        vllm = VllmGenerator(folder, dtype="auto", enforce_eager=True)
        yield f"vLLM samples in {vllm.llm.model_config.dtype}"
        try:
            yield from added("VllmGenerator", "AsyncLLM.generate", vllm, batches, _async_llm(vllm, batches))
        finally:
            vllm.close()


def shared_prompt(generator: TransformersGenerator) -> Comparison:
    """64 samples of one long prompt."""
    sampling = Sampling(n=64, temperature=1.0, max_new_tokens=32)
    question = [Message(role="user", content=" ".join(dial.question for dial in tiny.dials(8, seed=1)))]
    prompt = encode_prompt(generator.tokenizer, question, sampling)
    assert not isinstance(prompt, Failure)
    inputs = torch.tensor([prompt])
    config = _config(generator, sampling)

    def ours() -> list[PromptSamples]:
        return generator.sample([question], sampling, [0])

    def plain() -> None:
        generator.lm.generate(input_ids=inputs, attention_mask=torch.ones_like(inputs), generation_config=config)

    plain()
    tokens = sum(sample["n_tokens"] or 0 for sample in ours()[0].samples)
    what = f"TransformersGenerator, 64 samples behind {len(prompt)} tokens"
    return compare(what, "model.generate", ours, plain, tokens, "tokens/s", repetitions=3)


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
        measured = compare(f"the stage with {ours}", plain, stage, alone, tokens, "tokens/s", repetitions=3)
    yield measured
    yield f"the stage adds {100 * (1 / measured.ratio - 1):+.1f} % to {plain} ({tokens / SAMPLES:.0f} tokens a sample)"


@dataclass(frozen=True)
class _Loaded(GeneratorSpec):
    """An engine that is there already, and that the stage does not close."""

    generator: Any = None

    def make(self) -> Any:
        found = copy(self.generator)
        found.close = lambda: None
        return found


def _config(generator: TransformersGenerator, sampling: Sampling) -> GenerationConfig:
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        num_return_sequences=sampling.n,
        do_sample=True,
        temperature=sampling.temperature,
        top_k=0,
        eos_token_id=generator.tokenizer.eos_token_id,
        pad_token_id=generator.tokenizer.pad_token_id,
    )


def _generate(generator: TransformersGenerator) -> Callable[[], None]:
    tokenizer, lm, config = generator.tokenizer, generator.lm, _config(generator, SAMPLING)
    tokenizer.padding_side = "left"
    inputs: list[tuple[int, Any]] = []
    for batch in questions():
        conversations: Any = batch.questions
        texts = tokenizer.apply_chat_template(conversations, add_generation_prompt=True, tokenize=False)
        for start in range(0, BATCH, TOGETHER):
            group = texts[start : start + TOGETHER]
            encoded = tokenizer(group, add_special_tokens=False, padding=True, return_tensors="pt")
            inputs.append((batch.index if start == 0 else -1, encoded))

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
