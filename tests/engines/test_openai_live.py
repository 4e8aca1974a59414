"""A real vLLM server of a tiny language model on loopback. Run where vLLM is installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import GenerationConfig

from openprm.engines.base import Batch, PromptSamples, Sampling
from openprm.engines.openai_generator import ServerGenerator
from openprm.errors import InputError

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(policy: Path, serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("served") / "policy"
    shutil.copytree(policy, folder)
    GenerationConfig(do_sample=True, eos_token_id=2).save_pretrained(folder)  # as published chat models have it
    return serve(folder, "--max-model-len", "256", "--served-model-name", "policy")


def ask(url: str, sampling: Sampling, texts: list[str], seed: int = 11, model: str = "policy") -> list[PromptSamples]:
    generator = ServerGenerator([url], model, timeout=120, retries=1)
    questions = [[{"role": "user", "content": text}] for text in texts]
    [(_, answers)] = generator.generate([Batch(0, questions, [seed + i for i in range(len(texts))])], sampling)  # type: ignore[arg-type]
    generator.close()
    return answers


def test_n_samples_the_same_in_another_run(server: str) -> None:
    sampling = Sampling(n=64, temperature=1.0, max_new_tokens=12)
    first, second = (ask(server, sampling, ["What is the sum?", "And then?"]) for _ in range(2))
    assert first == second
    assert all(answers.failure is None and len(answers.samples) == 64 for answers in first)
    assert len({sample["text"] for sample in first[0].samples}) > 32
    assert all(1 <= (sample["n_tokens"] or 0) <= 12 for sample in first[0].samples)


def test_seeds_count_up_within_a_request(server: str) -> None:
    """So what is missing of an answer is asked for with the seed plus the number of samples that are there."""
    several, rest = (
        ask(server, Sampling(n=n, temperature=1.0, max_new_tokens=12), ["What?"], seed)[0].samples
        for n, seed in ((4, 100), (2, 102))
    )
    assert list(several[2:]) == list(rest)


def test_stop_texts_and_the_version(server: str) -> None:
    assert ServerGenerator([server], "policy").version is not None
    [answers] = ask(server, Sampling(n=64, temperature=1.0, max_new_tokens=60, stop=("a",)), ["What?"])
    assert "stop" in {sample["finish_reason"] for sample in answers.samples}
    assert all("a" not in sample["text"] for sample in answers.samples)
    assert all(sample["n_tokens"] == 60 for sample in answers.samples if sample["finish_reason"] == "length")


def test_refusals(server: str) -> None:
    """A context that is too long is the failure of its question, another model that of all."""
    long, short = ask(server, Sampling(n=2, max_new_tokens=8), ["What? " * 500, "What?"])
    assert long.failure is not None
    assert not long.failure.transient
    assert "256" in long.failure.reason
    assert short.failure is None
    with pytest.raises(InputError, match="no such model"):
        ask(server, Sampling(n=2), ["What?"], model="other")
