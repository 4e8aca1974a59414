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

from openprm.engines.base import Batch, PromptSamples, Sampling
from openprm.engines.vllm_generator import VllmGenerator
from openprm.errors import InputError

with_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-engines")

SAMPLING = Sampling(n=16, temperature=1.0, max_new_tokens=40)


def batch(index: int, texts: list[str], seeds: list[int]) -> Batch:
    return Batch(index, [[{"role": "user", "content": text}] for text in texts], seeds=seeds)


def sampled(generator: VllmGenerator, sampling: Sampling, texts: list[str], seeds: list[int]) -> list[PromptSamples]:
    ((_, answers),) = generator.generate([batch(0, texts, seeds)], sampling)
    return answers


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_it_says_what_to_install(policy: Path) -> None:
    with pytest.raises(InputError, match=r"openprm\[vllm\]"):
        VllmGenerator(policy)


@with_vllm
@pytest.mark.slow
def test_what_cannot_be_loaded(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        VllmGenerator(tmp_path)
    with pytest.raises(InputError, match="max_model_len"):
        VllmGenerator(policy, dtype="float32", max_model_len=100_000)
    with pytest.raises(InputError, match="no_such_option"):
        VllmGenerator(policy, no_such_option=1)


@with_vllm
@pytest.mark.slow
class TestGenerator:
    def test_names_and_batches_without_questions(self, vllm_generator: VllmGenerator, policy: Path) -> None:
        assert (vllm_generator.engine, vllm_generator.model, vllm_generator.revision) == ("vllm", policy.name, None)
        assert vllm_generator.version
        empty = batch(3, [], [])
        assert list(vllm_generator.generate([empty], SAMPLING)) == [(empty, [])]
        assert list(vllm_generator.generate([], SAMPLING)) == []

    def test_the_dtype_is_the_checkpoints(self, vllm_generator: VllmGenerator) -> None:
        assert vllm_generator.llm.model_config.dtype == torch.float32

    def test_a_seed_gives_the_same_samples(self, vllm_generator: VllmGenerator) -> None:
        sampling = Sampling(n=64, temperature=0.5, max_new_tokens=20)
        first, second = (sampled(vllm_generator, sampling, ["Hi", "Hi", "What?"], [7, 1000, 7]) for _ in range(2))
        assert first == second
        assert [(len(answers.samples), answers.seed) for answers in first] == [(64, 7), (64, 1000), (64, 7)]
        texts = [[sample["text"] for sample in answers.samples] for answers in first]
        assert len(set(texts[0])) > 32  # nothing is taken from the generation config
        assert texts[0] != texts[1]
        assert texts[0] != texts[2]

    def test_the_ith_sample_is_that_of_seed_plus_i(self, vllm_generator: VllmGenerator) -> None:
        (several,) = sampled(vllm_generator, SAMPLING, ["Hi"], [7])
        single = Sampling(n=1, temperature=1.0, max_new_tokens=40)
        apart = sampled(vllm_generator, single, ["Hi"] * 3, [7, 8, 9])
        assert [answers.samples[0] for answers in apart] == list(several.samples[:3])

    def test_samples_do_not_depend_on_their_batch(self, vllm_generator: VllmGenerator) -> None:
        asked = [(f"What is {i}?", 100 * i) for i in range(12)]

        def samples(order: list[tuple[str, int]], size: int) -> dict[str, Any]:
            starts = range(0, len(order), size)
            batches = [batch(i, *map(list, zip(*order[i : i + size], strict=True))) for i in starts]  # type: ignore[arg-type]
            return {
                asked.questions[i][0]["content"]: answers
                for asked, found in vllm_generator.generate(batches, SAMPLING)
                for i, answers in enumerate(found)
            }

        shuffled = random.Random(0).sample(asked, len(asked))
        together = samples(asked, 12)
        assert samples(shuffled, 5) == together
        assert samples(shuffled, 1) == together

    def test_the_next_batch_is_taken_before_the_last_answer_is_there(self, vllm_generator: VllmGenerator) -> None:
        unfinished: list[int] = []

        def batches() -> Iterator[Batch]:
            for index in range(6):
                unfinished.append(vllm_generator.llm.get_num_unfinished_requests())
                yield batch(index, ["Hi", "What?", "Count."], [index, index + 100, index + 200])

        found = [asked.index for asked, _ in vllm_generator.generate(batches(), SAMPLING)]
        assert sorted(found) == list(range(6))
        assert unfinished[0] == 0
        assert all(0 < number < 2 * 32 for number in unfinished[1:])  # never idle, and never all of them at once

    def test_a_short_batch_overtakes_a_long_one(self, vllm_generator: VllmGenerator) -> None:
        one = Sampling(n=1, temperature=1.0, max_new_tokens=200)
        batches = [batch(0, ["Hi"] * 20, list(range(20))), batch(1, ["x" * 251], [0])]
        assert [asked.index for asked, _ in vllm_generator.generate(batches, one)] == [1, 0]

    def test_more_prompts_than_one_step_reads(self, vllm_generator: VllmGenerator) -> None:
        """In vLLM 0.32 on a CPU a prompt that is read in two steps and has a seed ends the engine."""
        texts = [chr(97 + i % 26) * (150 + i) for i in range(64)]  # 2048 tokens a step
        answers = sampled(vllm_generator, Sampling(n=1, temperature=1.0, max_new_tokens=2), texts, list(range(64)))
        assert all(len(found.samples) == 1 for found in answers)

    def test_a_loop_left_early_leaves_nothing_running(self, vllm_generator: VllmGenerator) -> None:
        for _ in vllm_generator.generate((batch(i, ["Hi"] * 8, list(range(8))) for i in range(9)), SAMPLING):
            break
        deadline = time.monotonic() + 30
        while vllm_generator.llm.get_num_unfinished_requests() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert vllm_generator.llm.get_num_unfinished_requests() == 0

    def test_how_answers_end(self, vllm_generator: VllmGenerator) -> None:
        long = Sampling(n=64, temperature=1.0, max_new_tokens=120)
        (answers,) = sampled(vllm_generator, long, ["Hi"], [0])
        assert {sample["finish_reason"] for sample in answers.samples} == {"stop", "length"}
        for sample in answers.samples:
            assert "</s>" not in sample["text"]
            assert (sample["n_tokens"] or 0) <= 120
            assert sample["n_tokens"] == 120 or sample["finish_reason"] == "stop"

    def test_stop_strings(self, vllm_generator: VllmGenerator) -> None:
        stopping = Sampling(n=16, temperature=1.0, max_new_tokens=40, stop=("e", "\n"))
        plain, stopped = (
            sampled(vllm_generator, sampling, ["Hi"], [0])[0].samples for sampling in (SAMPLING, stopping)
        )
        assert any("e" in sample["text"] for sample in plain)
        for whole, cut in zip(plain, stopped, strict=True):
            ends = [at for stop in ("e", "\n") if (at := whole["text"].find(stop)) >= 0]
            assert cut["text"] == (whole["text"][: min(ends)] if ends else whole["text"])
            assert cut["finish_reason"] == ("stop" if ends else whole["finish_reason"])
            assert (cut["n_tokens"] or 0) <= (whole["n_tokens"] or 0)

    def test_questions_that_fail_alone(self, vllm_generator: VllmGenerator) -> None:
        """The context is 256 tokens, of which each letter takes one."""
        template = "{{ raise_exception('no') if messages[0]['content'] == 'bad' else messages[0]['content'] }}"
        sampling = Sampling(n=4, temperature=1.0, max_new_tokens=100, chat_template=template)
        texts = ["x" * 240, "x" * 300, "bad", "Hi"]
        narrow, over, bad, fits = sampled(vllm_generator, sampling, texts, [1, 2, 3, 4])
        assert {sample["n_tokens"] for sample in narrow.samples if sample["finish_reason"] == "length"} == {16}
        for answers, reason in ((over, "256"), (bad, "no")):
            assert not answers.samples
            assert answers.failure is not None
            assert not answers.failure.transient
            assert reason in answers.failure.reason
        assert fits.failure is None


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
