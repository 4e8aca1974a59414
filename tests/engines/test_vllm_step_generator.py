"""Extending answers with a real vLLM (`make test-engines`)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from openprm.decoding.branching import branched
from openprm.engines.base import Sampling
from openprm.engines.step_generator import StepGenerator
from openprm.engines.step_requests import PartialResponse, StepRequest
from openprm.engines.transformers_generator import TransformersGenerator
from openprm.engines.vllm_generator import VllmGenerator
from openprm.errors import Failure

from .test_step_generator import DIALS, step_by_step, wholes
from .test_transformers_generator import greedy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-engines"),
]
SAMPLED = Sampling(temperature=1.0, max_new_tokens=48)


def drawn(
    vllm_generator: VllmGenerator, whole: bool, n: int = 8, seed: int = 3, separator: str = "e"
) -> list[list[PartialResponse]]:
    found = StepGenerator(vllm_generator, separator, SAMPLED)(
        [StepRequest(question, PartialResponse(), n, seed, whole) for question in DIALS]
    )
    assert not [ways for ways in found if isinstance(ways, Failure)]
    return [[way.partial for way in ways] for ways in found if not isinstance(ways, Failure)]


@pytest.mark.parametrize("separator", ["e", "line", "sentence", "re:[a-m]"])
def test_greedy_steps_make_the_answer_that_transformers_writes(
    vllm_generator: VllmGenerator, policy: Path, separator: str
):
    sampling = greedy(48)
    found = step_by_step(StepGenerator(vllm_generator, separator, sampling), DIALS)
    expected = wholes(TransformersGenerator.load(str(policy)), DIALS, sampling)
    for some, whole in zip(found, expected, strict=True):
        last = some[-1].partial
        assert (last.text, sum(way.n_tokens for way in some), last.finish_reason) == whole
    assert max(map(len, found)) > 2


def test_a_step_is_a_prefix_of_the_whole_answer_with_its_seed(vllm_generator: VllmGenerator):
    """Stopped by vLLM, which looks for the text, or by us, who look at each token; then nothing is left running."""
    whole = drawn(vllm_generator, whole=True)
    for separator in ("e", "re:e.", "line"):
        for ways, answers in zip(drawn(vllm_generator, whole=False, separator=separator), whole, strict=True):
            for way, answer in zip(ways, answers, strict=True):
                assert answer.tokens[: len(way.tokens)] == way.tokens
                assert len(way.tokens) < len(answer.tokens) or way.finished
                assert way.steps or way.finished
    assert len({answer.tokens for answers in whole for answer in answers}) > len(DIALS)
    assert vllm_generator.llm.get_num_unfinished_requests() == 0


def test_every_way_has_a_seed_of_its_own(vllm_generator: VllmGenerator):
    apart = [drawn(vllm_generator, whole=False, n=1, seed=3 + i) for i in range(3)]
    together = drawn(vllm_generator, whole=False, n=3)
    assert [[some[0] for some in ways] for ways in zip(*apart, strict=True)] == together


def test_trees_share_their_prefixes(vllm_generator: VllmGenerator):
    steps = StepGenerator(vllm_generator, "sentence", SAMPLED)
    trees = branched(DIALS, range(len(DIALS)), (2, 2, 2), steps)
    assert branched(DIALS[1:2], [1], (2, 2, 2), steps) == trees[1:2]
    for tree in trees:
        assert not isinstance(tree, Failure)
        for depth in (1, 2):
            paths = {(one.path[:depth], one.partial.steps[:depth]) for one in tree if len(one.path) > depth}
            assert len(paths) == len({path for path, _ in paths})
        assert sum(one.new_tokens for one in tree) <= sum(len(one.partial.tokens) for one in tree)
