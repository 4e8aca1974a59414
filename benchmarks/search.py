"""Beam search over steps, against best-of-N and against the same search of one prompt after another.

The language model is that of the preset `tiny`, trained briefly so that its answers have steps and end; the reward
model has random weights. The models are small, so that the cost of searching is measured rather than their speed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from benchmarks.timing import Comparison, compare, seconds
from openprm.decoding.loop import SearchResult
from openprm.decoding.methods import Method
from openprm.decoding.searcher import Searcher
from openprm.engines.base import Sampling
from openprm.engines.specs import GeneratorSpec, RewardSpec
from openprm.errors import Failure
from openprm.presets import toy_domain as tiny
from openprm.presets.toy_stages import ToyPolicy
from openprm.schema import Message

PROMPTS, BUDGET = 16, 16
REPETITIONS = 3
SAMPLING = Sampling(n=1, temperature=1.0, max_new_tokens=64)


def save_reward_model(folder: Path) -> None:
    tokenizer = tiny.tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.1,
        problem_type="regression",
    )
    config.num_labels = 1
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def comparisons() -> Iterator[Comparison | str]:
    """With transformers, and with vLLM if it is installed."""
    with tempfile.TemporaryDirectory() as place:
        policy, prm = Path(place, "policy"), Path(place, "prm")
        ToyPolicy(steps=100).run(policy)
        save_reward_model(prm)
        engines = ["transformers", *(["vllm"] if find_spec("vllm") else [])]
        for engine in engines:
            options = {"enforce_eager": True} if engine == "vllm" else {}
            spec = GeneratorSpec(str(policy), engine, dtype="float32", options=options)
            beams = Searcher.load(spec, RewardSpec(str(prm)), Method("pbs", BUDGET), SAMPLING)
            try:
                yield from searching(beams, engine)
            finally:
                beams.close()
    if "vllm" not in engines:
        yield "vLLM is not installed: `make bench` searches with it too"


def searching(beams: Searcher, engine: str) -> Iterator[Comparison | str]:
    questions = [[Message(role="user", content=dial.question)] for dial in tiny.dials(PROMPTS, 0, "test")]
    best = Searcher(Method("best-of-n", BUDGET, beams.method.aggregation), beams.step_generator, beams.scorer)
    together, whole = (partial(searched, one, questions) for one in (beams, best))
    ours, plain = together(), whole()  # also to warm up
    times = [(seconds(together), seconds(whole)) for _ in range(REPETITIONS)]
    ratios = [(plain / slow) / (ours / fast) for fast, slow in times]
    yield Comparison(
        f"PBS, {BUDGET} ways a step, {engine}",
        f"best of {BUDGET}",
        "generated tokens/s",
        ours / median(fast for fast, _ in times),
        plain / median(slow for _, slow in times),
        1 / median(ratios),
    )
    yield f"{engine}: a generated token takes PBS {median(ratios):.2f} times as long as best-of-{BUDGET} (at most 2)"
    yield compare(
        f"PBS of {PROMPTS} prompts at once, {engine}",
        "one by one",
        together,
        one_by_one(beams, questions),
        PROMPTS,
        "prompts/s",
        repetitions=REPETITIONS,
    )


def one_by_one(searcher: Searcher, questions: list[list[Message]]) -> Callable[[], int]:
    return lambda: sum(searched(searcher, [question], first=index) for index, question in enumerate(questions))


def searched(searcher: Searcher, questions: list[list[Message]], first: int = 0) -> int:
    """The number of tokens generated."""
    found = searcher(questions, [first + index for index in range(len(questions))])
    return sum(tokens(one) for one in found)


def tokens(found: SearchResult | Failure) -> int:
    assert isinstance(found, SearchResult)
    return found.generated_tokens
