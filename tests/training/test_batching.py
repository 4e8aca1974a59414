from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.scoring.packing import pack
from openprm.training.batching import PASS, GlobalBatchSampler, cheapest_runs, plan_passes

PROMPTS = st.lists(st.integers(0, 12), min_size=1, max_size=60)


@given(PROMPTS, st.integers(1, 5), st.integers(0, 3), st.sampled_from([1, 4, 24]))
def test_global_batches_do_not_depend_on_the_number_of_processes(prompts: Any, together: int, epoch: int, size: int):
    n = len(prompts)
    alone = list(GlobalBatchSampler(prompts, together, 1, seed=3, epoch=lambda: epoch))
    sampler = GlobalBatchSampler(prompts, together, size, seed=3, epoch=lambda: epoch)
    order = list(sampler)
    assert sorted(alone) == list(range(n))
    assert order[:n] == alone
    assert order[n:] == [n] * (len(order) - n)
    assert len(order) == len(sampler)
    assert len(order) % size == 0
    assert len(order) - n < size


@given(PROMPTS)
def test_all_pairs_of_a_prompt_come_together(prompts: list[int]):
    order = [prompts[index] for index in GlobalBatchSampler(prompts, 60, 1, 0, lambda: 0)]
    changes = sum(left != right for left, right in pairwise(order))
    assert changes == len(set(prompts)) - 1


def test_as_many_pairs_of_a_prompt_come_together_as_wanted():
    for seed in range(5):
        order = list(GlobalBatchSampler([*"aabababcb"], 2, 1, seed, lambda: 0))
        followers = {pair: order[order.index(pair) + 1] for pair in (0, 3, 2, 6)}
        assert followers == {0: 1, 3: 5, 2: 4, 6: 8}


@pytest.mark.parametrize("together", [1, 4])
def test_epochs_and_seeds_differ(together: int):
    def order(seed: int, epoch: int) -> list[int]:
        return list(GlobalBatchSampler(list(range(30)), together, 1, seed, lambda: epoch))

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed, epoch in ((0, 0), (0, 1), (7, 0))}) == 3


SIDE = st.lists(st.integers(3, 5), min_size=1, max_size=12)


@given(st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=12), st.integers(1, 60), st.sampled_from([None, 5, 1e9]))
def test_every_pair_is_in_one_pass_within_the_budget(pairs: Any, most: int, parity: float | None):
    passes = plan_passes(pairs, most, parity)
    assert sorted(index for packs in passes for pack in packs for index in pack) == list(range(len(pairs)))
    for packs in passes:
        sides = [[side for index in indices for side in pairs[index]] for indices in packs]
        if parity is None:
            tokens = 2 * len(sides) * max(len(side) for sides in sides for side in sides)
        else:
            tokens = len(sides) * max(len(pack(some).tokens) for some in sides)
        assert tokens <= most or sum(map(len, packs)) == 1


def test_pairs_share_a_pack_where_that_saves_more_than_attention_costs():
    prompt = list(range(100, 200))
    pairs = [[[*prompt, first, 1], [*prompt, first, 2]] for first in range(8)]
    assert plan_passes(pairs, 1000, 1e4) == [[list(range(8))]]  # 100 + 8 * 3 tokens, instead of 8 * 103
    # 16 long answers share 4 tokens: in a pack of two, attention to the other would cost 400^2 / 1000 = 160
    answers = [[[1, 1, 1, 1, *[number] * 200]] for number in range(16)]
    packs = [pack for packs in plan_passes(answers, 5000, 1000) for pack in packs]
    assert sorted(packs) == [[number] for number in range(16)]


def test_packs_of_unlike_sizes_take_passes_of_their_own():
    sizes = [300, 40, 290, 35]
    pairs = [[[number] * size] for number, size in enumerate(sizes)]
    assert plan_passes(pairs, 1000, 1) == [[[0], [2]], [[1], [3]]]
    assert plan_passes(pairs, 500, 1) == [[[0]], [[2]], [[1], [3]]]
    assert 300 - 290 < PASS < 290 - 40


@given(st.lists(st.integers(1, 30), min_size=1, max_size=7), st.integers(0, 20))
def test_runs_are_the_cheapest_of_all(sizes: list[int], fixed: int):
    def cost(run: Any) -> float:
        return fixed + max(sizes[run[0] : run[-1] + 1]) * len(run)

    def divisions() -> Any:
        for cuts in product([False, True], repeat=len(sizes) - 1):
            bounds = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(sizes)]
            yield [range(*bound) for bound in pairwise(bounds)]

    runs = cheapest_runs(
        len(sizes), lambda start: (cost(range(start, end)) for end in range(start + 1, len(sizes) + 1))
    )
    assert [place for run in runs for place in run] == list(range(len(sizes)))
    assert sum(map(cost, runs)) == min(sum(map(cost, division)) for division in divisions())
