"""Which pairs one optimizer step takes, and which of them one forward pass: what pairs share is computed once."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Hashable, Iterator, Sequence

import torch
from torch.utils.data import Sampler

from ..scoring.packing import shared_length

#: A pack of `PARITY` times the model's hidden size tokens takes twice as long as its tokens apart: attention, whose
#: mask is dense, costs as much as all else. (Measured with Llamas of hidden size 256 and 576 on a CPU: 3.3 for both;
#: operations alone, counted, make it 6.)
PARITY = 3

#: A pass takes as long as its tokens, padding included, and so many more.
PASS = 32

Pairs = Sequence[Sequence[list[int]]]


class GlobalBatchSampler(Sampler[int]):
    """The order of the pairs, given by a seed: the same global batches on any number of processes.

    Each epoch is shuffled and cut into global batches, one optimizer step each. The last is padded (item
    `len(prompts)`) to a multiple of `multiple`, so that each process gets pairs, and none twice.

    prompts: of each pair.
    together: pairs of a prompt, neighbors in the data, that are shuffled as one, so that they come in one global batch
      (or at the end of one and the beginning of the next); at most, since a prompt may have fewer.
    epoch: gives the current epoch. (accelerate's `set_epoch` does not reach a sampler within a data loader that skips
      batches on several processes, as when a run is resumed.)
    """

    def __init__(
        self, prompts: Sequence[Hashable], together: int, multiple: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        self.seed, self.epoch = seed, epoch
        of_prompt: dict[Hashable, list[int]] = {}
        for index, prompt in enumerate(prompts):
            of_prompt.setdefault(prompt, []).append(index)
        self.groups = [
            indices[start : start + together]
            for indices in of_prompt.values()
            for start in range(0, len(indices), together)
        ]
        self.pairs, self.padding = len(prompts), -len(prompts) % multiple

    def __len__(self) -> int:
        return self.pairs + self.padding

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch())
        for group in torch.randperm(len(self.groups), generator=generator).tolist():
            yield from self.groups[group]
        yield from [self.pairs] * self.padding


def plan_passes(pairs: Pairs, max_tokens: int, parity: float | None) -> list[list[list[int]]]:
    """Passes, each of packs, each of indices of pairs: every pair once, in the way that takes least time.

    pairs: the token ids of their sides. max_tokens: of a pass, padding included; a longer pair has one of its own.
    parity: tokens of a pack at which attention costs as much as all else; None: pairs cannot be packed, and each side
      takes a row.
    """
    if parity is None:
        packs = [([index], len(sides) * max(map(len, sides))) for index, sides in enumerate(pairs)]
    else:
        packs = _packs(pairs, max_tokens, parity)
    packs.sort(key=lambda pack: -pack[1])

    def costs(start: int) -> Iterator[float]:
        longest = packs[start][1]
        for rows in range(1, min(max(max_tokens // longest, 1), len(packs) - start) + 1):
            yield rows * longest + PASS

    return [[indices for indices, _ in packs[run.start : run.stop]] for run in cheapest_runs(len(packs), costs)]


def _packs(pairs: Pairs, max_tokens: int, parity: float) -> list[tuple[list[int], int]]:
    """The pairs in packs, with the tokens of each. In the order of their tokens, neighbors share most."""
    order = sorted(range(len(pairs)), key=lambda index: sorted(pairs[index]))
    sizes: dict[tuple[int, int], int] = {}

    def costs(start: int) -> Iterator[float]:
        size = 0
        rows: list[list[int]] = []
        for end in range(start, len(order)):
            for side in pairs[order[end]]:
                place = bisect(rows, side)
                neighbors = rows[max(place - 1, 0) : place + 1]
                size += len(side) - max((shared_length(row, side) for row in neighbors), default=0)
                rows.insert(place, side)
            if end > start and size > max_tokens:
                return
            sizes[start, end + 1] = size
            yield size + size**2 / parity

    runs = cheapest_runs(len(order), costs)
    return [([order[place] for place in run], sizes[run.start, run.stop]) for run in runs]


def cheapest_runs(count: int, costs: Callable[[int], Iterator[float]]) -> list[range]:
    """The cheapest division of `count` items into runs of neighbors.

    costs: of the run of one item from a start on, of two, and so on, as far as runs may go.
    """
    best = [0.0] + [math.inf] * count
    starts = [0] * (count + 1)
    for start in range(count):
        for end, cost in enumerate(costs(start), start + 1):
            if best[start] + cost < best[end]:
                best[end], starts[end] = best[start] + cost, start
    runs = []
    while count:
        runs.append(range(starts[count], count))
        count = starts[count]
    return runs[::-1]
