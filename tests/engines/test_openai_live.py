"""Real servers of a tiny model on loopback. Run where vLLM is installed; each server takes about a minute to start."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers

from openprm.engines.base import Batch, PromptSamples, Sampling
from openprm.engines.openai_generator import ServerGenerator
from openprm.errors import InputError

from .. import tiny_models

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

_STARTED = 300.0  # seconds at most


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a causal language model of random weights."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny_models.tokenizer()
    sizes = {**tiny_models.SIZES, "vocab_size": len(tokenizer), "num_hidden_layers": 1}
    sizes.pop("num_labels")
    config = transformers.LlamaConfig(**{**sizes, "hidden_size": 64, "intermediate_size": 64, "head_dim": 32})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = transformers.LlamaForCausalLM(config)
    # as published chat models have it; without it `transformers serve` would choose greedily
    made.generation_config.do_sample = True
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _serve(command: list[str], log: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _STARTED
        while not _healthy(url):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")
            time.sleep(1)
        yield f"{url}/v1"
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):  # what it has started itself
                os.killpg(process.pid, signal.SIGKILL)


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def vllm_server(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = "--dtype float32 --enforce-eager --max-model-len 256 --served-model-name policy".split()
    # What `vllm serve` runs; that command itself looks for a package named vllm, and the CPU build has another name.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, *options]
    yield from _serve(command, tmp_path_factory.mktemp("log") / "vllm.log")


@pytest.fixture(scope="module")
def transformers_server(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = [str(Path(sys.executable).parent / "transformers"), "serve", model, "--device", "cpu"]
    yield from _serve(command, tmp_path_factory.mktemp("log") / "transformers.log")


def _ask(url: str, model: str, sampling: Sampling, texts: list[str]) -> list[PromptSamples]:
    generator = ServerGenerator([url], model, timeout=120, retries=1)
    batch = Batch(0, [[{"role": "user", "content": text}] for text in texts], 0, [11, 22, 33][: len(texts)])
    [(_, answers)] = list(generator.generate([batch], sampling))
    return answers


def test_vllm_gives_n_samples_the_same_in_another_run(vllm_server: str) -> None:
    sampling = Sampling(n=64, temperature=1.0, max_new_tokens=12)
    first, second = (_ask(vllm_server, "policy", sampling, ["What is the sum?", "And then?"]) for _ in range(2))
    assert first == second
    assert all(answers.failure is None and len(answers.samples) == 64 for answers in first)
    texts = [sample["text"] for sample in first[0].samples]
    assert len(set(texts)) > 32
    for sample in first[0].samples:
        assert 1 <= sample["n_tokens"] <= 12
        assert sample["finish_reason"] == "length" or sample["n_tokens"] <= 12


def test_vllm_counts_its_seeds_up_within_a_request(vllm_server: str) -> None:
    # What `ServerGenerator` says of the rest, asked for with the seed plus the number there are.
    generator = ServerGenerator([vllm_server], "policy")
    question = [{"role": "user", "content": "What is the sum?"}]

    def texts(n: int, seed: int) -> list[str]:
        sampling = Sampling(n=n, temperature=1.0, max_new_tokens=12)
        [(_, [answers])] = generator.generate([Batch(0, [question], 0, [seed])], sampling)
        return [sample["text"] for sample in answers.samples]

    assert texts(4, 100)[2:] == texts(2, 102)


def test_vllm_tells_its_version_and_ends(vllm_server: str) -> None:
    assert ServerGenerator([vllm_server], "policy").version is not None
    [answers] = _ask(vllm_server, "policy", Sampling(n=64, temperature=1.0, max_new_tokens=60, stop=("a",)), ["What?"])
    reasons = {sample["finish_reason"] for sample in answers.samples}
    assert "stop" in reasons
    assert all("a" not in sample["text"] for sample in answers.samples)
    assert all(sample["n_tokens"] == 60 for sample in answers.samples if sample["finish_reason"] == "length")


def test_a_context_too_long_for_vllm_is_a_failure_of_its_own(vllm_server: str) -> None:
    long, short = _ask(vllm_server, "policy", Sampling(n=2, max_new_tokens=8), ["What? " * 500, "What?"])
    assert long.failure is not None
    assert not long.failure.transient
    assert "256" in long.failure.reason
    assert short.failure is None


def test_vllm_refuses_another_model(vllm_server: str) -> None:
    with pytest.raises(InputError, match="no such model"):
        _ask(vllm_server, "other", Sampling(n=2), ["What?"])


def test_transformers_serve_is_asked_until_there_are_n(transformers_server: str, model: str) -> None:
    sampling = Sampling(n=5, temperature=1.0, max_new_tokens=12)
    [answers] = _ask(transformers_server, model, sampling, ["What is the sum?"])
    assert answers.failure is None
    assert len(answers.samples) == 5
    assert len({sample["text"] for sample in answers.samples}) > 1
    assert all(1 <= sample["n_tokens"] <= 12 for sample in answers.samples)
