"""Models that vLLM can run on a CPU, and one engine of each kind for a whole session: a start takes half a minute."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from openprm.engines.specs import ProbeSpec, RewardSpec
from openprm.engines.vllm_generator import VllmGenerator
from openprm.engines.vllm_prober import VllmProber
from openprm.engines.vllm_rewards import VllmRewardEngine
from tests import tiny_models

#: vLLM on a CPU takes no heads narrower than 32.
HEADS: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_CI_ENV": "1",  # no warm-up and no compiler
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # or all engines share one core
    "VLLM_LOGGING_LEVEL": "ERROR",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="session", autouse=True)
def _small_cpu() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model with random weights, which ends a few of its answers early."""
    tokenizer = tiny_models.tokenizer()
    sizes = {**tiny_models.SIZES, **HEADS, "vocab_size": len(tokenizer), "initializer_range": 0.3, "num_labels": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = LlamaForCausalLM(LlamaConfig(**sizes))
    # defaults that vLLM would take from here, and must not: any of these makes samples alike
    model.generation_config.update(do_sample=True, top_k=1, temperature=0.01, repetition_penalty=5.0)
    return tiny_models.saved(tmp_path_factory.mktemp("vllm") / "policy", model, tokenizer)


@pytest.fixture(scope="session")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It asks for a sigmoid, as some reward models do: rewards are raw all the same."""
    tokenizer = tiny_models.tokenizer()
    model = tiny_models.model(vocab_size=len(tokenizer), **HEADS)
    model.config.problem_type = None
    return tiny_models.saved(tmp_path_factory.mktemp("vllm") / "reward", model, tokenizer)


@pytest.fixture(scope="session")
def vllm_generator(policy: Path) -> Iterator[VllmGenerator]:
    made = VllmGenerator(policy, enforce_eager=True, max_num_seqs=32)
    yield made
    made.close()


@pytest.fixture(scope="session")
def vllm_rewards(reward_model: Path) -> Iterator[VllmRewardEngine]:
    made = RewardSpec(str(reward_model), "vllm", options={"enforce_eager": True}).make()
    assert isinstance(made, VllmRewardEngine)
    yield made
    made.close()


@pytest.fixture(scope="session")
def vllm_prober(policy: Path) -> Iterator[VllmProber]:
    made = ProbeSpec(str(policy), "vllm", options={"enforce_eager": True, "max_num_seqs": 32, "head": None}).make()
    assert isinstance(made, VllmProber)
    yield made
    made.close()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Starts a vLLM server of a model, with command-line options, until the module ends; gives its base address."""
    with contextlib.ExitStack() as running:

        def start(model: Path, *options: str) -> str:
            log = tmp_path_factory.mktemp("log") / "server.log"
            return running.enter_context(_serving(model, options, log))

        yield start


@contextlib.contextmanager
def _serving(model: Path, options: tuple[str, ...], log: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # what `vllm serve` runs; that command itself looks for a package named vllm, and the CPU build has another name
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), *options]
    command += ["--dtype", "float32", "--enforce-eager", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 600
        while not _is_healthy(url):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")
            time.sleep(1)
        yield f"{url}/v1"
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):  # processes that it has started
                os.killpg(process.pid, signal.SIGKILL)


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False
