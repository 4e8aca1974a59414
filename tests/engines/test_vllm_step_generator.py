"""Extending answers with a real vLLM (`make test-engines`)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from openprm.engines.base import Sampling
from openprm.engines.specs import GeneratorSpec
from openprm.engines.step_generator import StepGenerator
from openprm.engines.step_requests import PartialResponse, StepRequest
from openprm.engines.transformers_generator import TransformersGenerator
from openprm.errors import Failure
from openprm.presets.toy_stages import ToyPolicy

from .test_step_generator import DIALS, step_by_step, wholes
from .test_transformers_generator import greedy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-engines"),
]
SAMPLED = Sampling(temperature=1.0, max_new_tokens=48)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy") / "policy"
    ToyPolicy(steps=40).run(folder)
    return folder


@pytest.fixture(scope="module")
def step_generator(policy: Path) -> Iterator[StepGenerator]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
        patch.setenv("OMP_NUM_THREADS", "1")
        options = {"enforce_eager": True, "max_num_seqs": 32}
        made = StepGenerator.load(GeneratorSpec(str(policy), "vllm", dtype="float32", options=options), ".\n", SAMPLED)
    yield made
    made.close()


def drawn(
    step_generator: StepGenerator, whole: bool, n: int = 8, seed: int = 3, separator: str = ".\n"
) -> list[list[PartialResponse]]:
    found = StepGenerator(step_generator.engine, separator, SAMPLED)(
        [StepRequest(question, PartialResponse(), n, seed, whole) for question in DIALS]
    )
    assert not [ways for ways in found if isinstance(ways, Failure)]
    return [[way.partial for way in ways] for ways in found if not isinstance(ways, Failure)]


@pytest.mark.parametrize("separator", [".\n", "line", "sentence", "re:is"])
def test_greedy_steps_make_the_answer_that_transformers_writes(
    step_generator: StepGenerator, policy: Path, separator: str
):
    sampling = greedy(48)
    found = step_by_step(StepGenerator(step_generator.engine, separator, sampling), DIALS)
    expected = wholes(TransformersGenerator.load(str(policy)), DIALS, sampling)
    for some, whole in zip(found, expected, strict=True):
        last = some[-1].partial
        assert (last.text, sum(way.n_tokens for way in some), last.finish_reason) == whole
    assert max(map(len, found)) > 2


def test_a_step_is_the_beginning_of_the_whole_answer_with_its_seed(step_generator: StepGenerator):
    """Stopped by vLLM, which looks for the text, or by us, who look at each token."""
    whole = drawn(step_generator, whole=True)
    for separator in (".\n", "re:\\.\n", "line"):
        for ways, answers in zip(drawn(step_generator, whole=False, separator=separator), whole, strict=True):
            for way, answer in zip(ways, answers, strict=True):
                assert answer.tokens[: len(way.tokens)] == way.tokens
                assert len(way.tokens) < len(answer.tokens) or way.finished
                assert len(way.steps) == 1 or way.finished
    assert len({answer.tokens for answers in whole for answer in answers}) > len(DIALS)


def test_every_way_has_a_seed_of_its_own(step_generator: StepGenerator):
    apart = [drawn(step_generator, whole=False, n=1, seed=3 + i) for i in range(3)]
    together = drawn(step_generator, whole=False, n=3)
    assert [[some[0] for some in ways] for ways in zip(*apart, strict=True)] == together


def test_nothing_is_left_running(step_generator: StepGenerator):
    drawn(step_generator, whole=False, separator="line")
    assert step_generator.engine._engine.llm.get_num_unfinished_requests() == 0  # type: ignore[attr-defined]
