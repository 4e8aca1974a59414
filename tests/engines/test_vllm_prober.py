"""Next tokens with a real vLLM (`make test-engines`), on a tiny model; without it only what needs none."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from openprm.engines.base import Head, Probe
from openprm.engines.transformers_prober import TransformersProber
from openprm.engines.vllm_prober import VllmProber
from openprm.errors import Failure, InputError

with_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-engines")


def near(found: Any, wanted: Any) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        for place, right in zip(one, other, strict=True):
            assert place == pytest.approx(right, abs=1e-3)


def test_heads_are_left_to_transformers():
    with pytest.raises(InputError, match="vLLM does not read the head 'score'; take the engine `transformers`"):
        VllmProber("org/model", head=Head())


@with_vllm
@pytest.mark.slow
def test_next_tokens_are_those_of_transformers(vllm_prober: VllmProber, policy: Path) -> None:
    rng = random.Random(0)
    rows = []
    for size in (1, 2, 17, 40, 200, vllm_prober.max_length):
        tokens = [rng.randrange(3, 90) for _ in range(size)]
        places = sorted(rng.sample(range(size), min(size, 4)))
        rows.append(Probe(tokens, places, [[rng.randrange(3, 90) for _ in range(2)] for _ in places]))
        rows.append(Probe(tokens, [size - 1], [range(100)]))  # at its end
        rows.append(Probe(tokens, range(size - 1), [[token] for token in tokens[1:]]))  # its own tokens
        rows.append(Probe(tokens, range(size), [*([token] for token in tokens[1:]), [5, 5]]))  # and one behind it
    plain = TransformersProber(policy).probe(rows)
    near(vllm_prober.probe(rows), plain)
    near(vllm_prober.probe(rows), plain)  # out of the prefix cache
    near(vllm_prober.probe(rows[::-1]), plain[::-1])
    assert vllm_prober.vocabulary > 90


@with_vllm
@pytest.mark.slow
def test_what_cannot_be_probed(vllm_prober: VllmProber) -> None:
    assert vllm_prober.probe([]) == []
    assert vllm_prober.probe([Probe([5, 6], [], [])]) == [[]]
    for length in (0, vllm_prober.max_length + 1):
        with pytest.raises(ValueError, match=f"{length} tokens"):
            vllm_prober.probe([Probe([5] * length, [], [])])
    good, bad = vllm_prober.probe([Probe([5, 6], [1], [[7]]), Probe([5, 6], [1], [[10**6]])])
    assert isinstance(good, list)
    assert isinstance(bad, Failure)
    assert "1000000" in bad.reason
