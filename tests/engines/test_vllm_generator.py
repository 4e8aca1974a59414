"""With a real vLLM (`make test-engines`), on tiny models; without it only what needs none."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from openprm.engines.base import Batch, Sampling
from openprm.engines.vllm_generator import VllmGenerator
from openprm.errors import InputError
from openprm.schema import Message
from tests import tiny_models

with_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-engines")

#: What vLLM can run on a CPU: heads of 32.
HEADS: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
ENGINE: dict[str, Any] = {"dtype": "float32", "enforce_eager": True}
SAMPLING = Sampling(n=16, temperature=1.0, max_new_tokens=40)


def question(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def batch(index: int, texts: list[str], seeds: list[int]) -> Batch:
    return Batch(index, [question(text) for text in texts], seed=index, seeds=seeds)


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model with random weights, which ends about an eighth of its answers early."""
    folder = tmp_path_factory.mktemp("vllm") / "policy"
    tokenizer = tiny_models.tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        **{**tiny_models.SIZES, **HEADS, "vocab_size": len(tokenizer), "initializer_range": 0.1, "num_labels": 2}
    )
    model: Any = LlamaForCausalLM(config)
    # what of it vLLM would take as defaults, and must not: any of these makes samples alike
    model.generation_config.update(do_sample=True, top_k=1, temperature=0.01, repetition_penalty=5.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def on_a_small_cpu() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def generator(policy: Path) -> Iterator[VllmGenerator]:
    made = VllmGenerator(policy, **ENGINE, max_num_seqs=32)
    yield made
    made.close()


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_it_says_what_to_install(policy: Path) -> None:
    with pytest.raises(InputError, match=r"openprm\[vllm\]"):
        VllmGenerator(policy)


@with_vllm
def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        VllmGenerator(tmp_path)


@with_vllm
@pytest.mark.slow
class TestGenerator:
    def test_who_it_is(self, generator: VllmGenerator, policy: Path) -> None:
        assert (generator.engine, generator.model, generator.revision) == ("vllm", policy.name, None)
        assert generator.version

    def test_a_seed_gives_the_same_samples(self, generator: VllmGenerator) -> None:
        sampling = Sampling(n=64, temperature=0.5, max_new_tokens=20)
        asked = batch(0, ["Hi", "Hi", "What?"], [7, 1000, 7])
        (_, first), (_, second) = (next(iter(generator.generate([asked], sampling))) for _ in range(2))
        assert first == second
        assert [len(answers.samples) for answers in first] == [64, 64, 64]
        assert [answers.seed for answers in first] == [7, 1000, 7]
        texts = [[sample["text"] for sample in answers.samples] for answers in first]
        assert len(set(texts[0])) > 32  # nothing is taken from the generation config
        assert texts[0] != texts[1]
        assert texts[0] != texts[2]

    def test_the_ith_sample_is_that_of_seed_plus_i(self, generator: VllmGenerator) -> None:
        (_, (several,)) = next(iter(generator.generate([batch(0, ["Hi"], [7])], SAMPLING)))
        single = Sampling(n=1, temperature=1.0, max_new_tokens=40)
        (_, apart) = next(iter(generator.generate([batch(0, ["Hi"] * 3, [7, 8, 9])], single)))
        assert [answers.samples[0] for answers in apart] == list(several.samples[:3])

    def test_samples_do_not_depend_on_their_batch(self, generator: VllmGenerator) -> None:
        asked = [(f"What is {i}?", 100 * i) for i in range(12)]

        def samples(order: list[tuple[str, int]], size: int) -> dict[str, Any]:
            starts = range(0, len(order), size)
            batches = [batch(i, *map(list, zip(*order[i : i + size], strict=True))) for i in starts]  # type: ignore[arg-type]
            return {
                asked.questions[i][0]["content"]: answers
                for asked, found in generator.generate(batches, SAMPLING)
                for i, answers in enumerate(found)
            }

        shuffled = random.Random(0).sample(asked, len(asked))
        together = samples(asked, 12)
        assert samples(shuffled, 5) == together
        assert samples(shuffled, 1) == together

    def test_the_next_batch_is_taken_before_the_last_answer_is_there(self, generator: VllmGenerator) -> None:
        room = 2 * 32
        unfinished: list[int] = []

        def batches() -> Iterator[Batch]:
            for index in range(6):
                unfinished.append(generator._engine.llm.get_num_unfinished_requests())
                yield batch(index, ["Hi", "What?", "Count."], [index, index + 100, index + 200])

        found = [asked.index for asked, _ in generator.generate(batches(), SAMPLING)]
        assert sorted(found) == list(range(6))
        assert unfinished[0] == 0
        assert all(0 < number < room for number in unfinished[1:])  # never idle, and never all of them at once

    def test_more_prompts_than_one_step_reads(self, generator: VllmGenerator) -> None:
        """In vLLM 0.32 on a CPU a prompt that is read in two steps and has a seed ends the engine."""
        one = Sampling(n=1, temperature=1.0, max_new_tokens=2)
        texts = [chr(97 + i % 26) * (150 + i) for i in range(64)]  # 2048 tokens a step
        ((_, answers),) = generator.generate([batch(0, texts, list(range(64)))], one)
        assert all(len(found.samples) == 1 for found in answers)

    def test_a_short_batch_overtakes_a_long_one(self, generator: VllmGenerator) -> None:
        one = Sampling(n=1, temperature=1.0, max_new_tokens=200)
        batches = [batch(0, ["Hi"] * 20, list(range(20))), batch(1, ["x" * 251], [0])]
        found = {asked.index: answers for asked, answers in generator.generate(batches, one)}
        assert list(found) == [1, 0]
        assert len(found[0]) == 20

    def test_a_loop_left_early_leaves_nothing_running(self, generator: VllmGenerator) -> None:
        many = (batch(i, ["Hi"] * 8, list(range(8))) for i in range(9))
        for _ in generator.generate(many, SAMPLING):
            break
        deadline = time.monotonic() + 30
        while generator._engine.llm.get_num_unfinished_requests() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert generator._engine.llm.get_num_unfinished_requests() == 0

    def test_how_answers_end(self, generator: VllmGenerator) -> None:
        long = Sampling(n=64, temperature=1.0, max_new_tokens=40)
        (_, (answers,)) = next(iter(generator.generate([batch(0, ["Hi"], [0])], long)))
        assert {sample["finish_reason"] for sample in answers.samples} == {"stop", "length"}
        for sample in answers.samples:
            assert "</s>" not in sample["text"]
            assert sample["n_tokens"] <= 40
            assert (sample["n_tokens"] == 40) or sample["finish_reason"] == "stop"

    def test_stop_strings(self, generator: VllmGenerator) -> None:
        plain, stopped = (
            next(iter(generator.generate([batch(0, ["Hi"], [0])], sampling)))[1][0].samples
            for sampling in (SAMPLING, Sampling(n=16, temperature=1.0, max_new_tokens=40, stop=("e", "\n")))
        )
        assert any("e" in sample["text"] for sample in plain)
        for whole, cut in zip(plain, stopped, strict=True):
            ends = [at for stop in ("e", "\n") if (at := whole["text"].find(stop)) >= 0]
            assert cut["text"] == (whole["text"][: min(ends)] if ends else whole["text"])
            assert cut["finish_reason"] == ("stop" if ends else whole["finish_reason"])
            assert cut["n_tokens"] <= whole["n_tokens"]

    def test_the_models_context(self, generator: VllmGenerator) -> None:
        """It is 256 tokens; the template adds a few to each letter's one."""
        sampling = Sampling(n=4, temperature=1.0, max_new_tokens=100)
        ((_, answers),) = generator.generate([batch(0, ["x" * 240, "x" * 300, "Hi"], [1, 2, 3])], sampling)
        narrow, over, fits = answers
        room = max(sample["n_tokens"] for sample in narrow.samples)
        assert 0 < room < 16
        assert all(sample["n_tokens"] == room for sample in narrow.samples if sample["finish_reason"] == "length")
        assert any(sample["finish_reason"] == "length" for sample in narrow.samples)
        assert not over.samples
        assert over.failure is not None
        assert not over.failure.transient
        assert "256" in over.failure.reason
        assert fits.failure is None

    def test_a_system_prompt_and_a_chat_template(self, generator: VllmGenerator) -> None:
        def texts(**options: Any) -> list[str]:
            sampling = Sampling(n=4, temperature=1.0, max_new_tokens=10, **options)
            ((_, (answers,)),) = generator.generate([batch(0, ["Hi"], [0])], sampling)
            return [sample["text"] for sample in answers.samples]

        system = question("Hi")
        system.insert(0, {"role": "system", "content": "Count."})
        ((_, (written_out,)),) = generator.generate(
            [Batch(0, [system], 0, [0])], Sampling(n=4, temperature=1.0, max_new_tokens=10)
        )
        assert texts(system_prompt="Count.") == [sample["text"] for sample in written_out.samples]
        assert texts(system_prompt="Count.") != texts()
        assert texts(chat_template="{{ messages[0]['content'] }}") != texts()

    def test_a_question_that_the_template_refuses(self, generator: VllmGenerator) -> None:
        template = "{{ raise_exception('no') if messages[0]['content'] == 'bad' else messages[0]['content'] }}"
        sampling = Sampling(n=2, max_new_tokens=5, chat_template=template)
        ((_, (bad, good)),) = generator.generate([batch(0, ["bad", "good"], [0, 0])], sampling)
        assert bad.failure is not None
        assert len(good.samples) == 2

    def test_batches_without_questions_and_no_batches(self, generator: VllmGenerator) -> None:
        empty = batch(3, [], [])
        assert list(generator.generate([empty], SAMPLING)) == [(empty, [])]
        assert list(generator.generate([], SAMPLING)) == []


@with_vllm
@pytest.mark.slow
def test_options_that_do_not_fit_the_model(policy: Path) -> None:
    with pytest.raises(InputError, match="max_model_len"):
        VllmGenerator(policy, **ENGINE, max_model_len=100_000)
    with pytest.raises(InputError, match="no_such_option"):
        VllmGenerator(policy, no_such_option=1)


@with_vllm
@pytest.mark.slow
def test_a_killed_process_takes_its_engine_along(policy: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "tests.engines.sampling", policy], stdout=subprocess.PIPE)
    assert process.stdout is not None
    while line := process.stdout.readline():  # children of any depth, once batches come back
        if line.startswith(b"engine "):
            break
    children = [int(pid) for pid in line.split()[1:]]
    assert len(children) >= 2
    assert all(map(_is_alive, children))
    (engine,) = [child for child in psutil.Process(process.pid).children() if child.children()]
    engine.suspend()  # as one that hangs when its worker ends
    process.send_signal(signal.SIGKILL)  # not waited for: a zombie parent must do
    deadline = time.monotonic() + 60
    while any(map(_is_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = [pid for pid in children if _is_alive(pid)]
    process.wait()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
