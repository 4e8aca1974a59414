"""Token sequences that share prefixes, packed so that each prefix is computed once.

Step rewards (paper, section 3.2) need every prefix of a response as a sequence of its own, and these share nearly all
their tokens. `pack` keeps each shared prefix once, and `collate` gives every token its position in its sequence and
lets it attend to its own ancestors only. Responses to one prompt share that prompt: `share` finds such prefixes, whose
keys and values are computed once, and `Pack.without_prefix` cuts them off.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pack:
    """A trie of sequences, flattened depth first: a node's descendants follow it directly.

    tokens: token id of each node
    parents: index of the node before it in its sequences, -1 for a first one
    depths: its position in its sequences
    ends: for each sequence, the index of its last node
    before: the tokens before the first, where a prefix was cut off
    """

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    ends: list[int]
    before: list[int] = field(default_factory=list)

    def prefix(self) -> list[int]:
        """The tokens that all sequences begin with, without the last of any, since its reward is read there."""
        branches = [parent + 1 for index, parent in enumerate(self.parents) if parent != index - 1]
        return self.tokens[: min([*branches, *self.ends])]

    def without_prefix(self, size: int) -> Pack:
        """What follows the first `size` tokens of the prefix. Depths do not change, so the first is `size`."""
        parents = [max(parent - size, -1) for parent in self.parents[size:]]
        ends = [end - size for end in self.ends]
        return Pack(self.tokens[size:], parents, self.depths[size:], ends, [*self.before, *self.tokens[:size]])


def pack(sequences: Sequence[Sequence[int]]) -> Pack:
    """The trie of the sequences: each shared prefix once. Walking `parents` from `ends[i]` gives sequence i.

    Raises ValueError for an empty sequence.
    """
    rows = [list(sequence) for sequence in sequences]
    tokens: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    ends = [0] * len(rows)
    before: list[int] = []
    path: list[int] = []
    # in lexicographic order, a sequence shares with the one before it all that it shares with any before
    for index in sorted(range(len(rows)), key=rows.__getitem__):
        row = rows[index]
        if not row:
            raise ValueError(f"sequence {index} is empty: there is no token to read a reward at")
        shared = shared_length(before, row)
        new = range(len(tokens), len(tokens) + len(row) - shared)
        if new:
            tokens += row[shared:]
            parents += [path[shared - 1] if shared else -1, *new[:-1]]
            depths += range(shared, len(row))
        path = path[:shared] + list(new)
        ends[index] = path[-1]
        before = row
    return Pack(tokens, parents, depths, ends)


def shared_length(left: list[int], right: list[int]) -> int:
    """Length of the longest common prefix, by bisection over slices (compared at C speed)."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True)
class Shared:
    """Items, by their indices, and the tokens that they all begin with (none for a single item)."""

    tokens: list[int]
    items: list[int]


def share(prefixes: Sequence[list[int]], shortest: float) -> list[Shared]:
    """The items in clusters, each with a prefix to compute once.

    A cluster of n items that share p tokens, at least `shortest`, saves (n - 1) p. In lexicographic order, items with
    a common prefix are neighbors, and such runs are nested: a tree. Each run becomes a cluster, or the runs within it
    do, whichever saves more.
    """
    order = sorted(range(len(prefixes)), key=prefixes.__getitem__)
    rows = [prefixes[index] for index in order]
    open_runs = [_Run(-1, 0)]
    for index, row in enumerate(rows):
        run = _Run(len(row), index, 0, [Shared([], [order[index]])])
        level = shared_length(row, rows[index + 1]) if index + 1 < len(rows) else -1
        while open_runs[-1].level > level:
            inner, run = run, open_runs.pop()
            run.add(inner)
            saved = run.level * (index - run.start)
            if run.level >= shortest and saved >= run.saved:
                run.saved = saved
                run.clusters = [Shared(row[: run.level], order[run.start : index + 1])]
        if open_runs[-1].level < level:
            open_runs.append(_Run(level, run.start))
        open_runs[-1].add(run)
    return open_runs[0].clusters


@dataclass
class _Run:
    """Neighboring items, from number `start` on, that share `level` tokens; their clusters and what these save."""

    level: int
    start: int
    saved: int = 0
    clusters: list[Shared] = field(default_factory=list)

    def add(self, inner: _Run) -> None:
        self.saved += inner.saved
        self.clusters += inner.clusters


def collate(
    packs: Sequence[Pack], pad_token_id: int, config: Any, dtype: torch.dtype, device: torch.device | str
) -> dict[str, Any]:
    """The inputs of one forward pass over the packs, one per row, padded on the right.

    `input_ids` and `position_ids` (depths) are [B, L]. A pack that was cut by `Pack.without_prefix` attends to its
    prefix too: P keys, as many as the longest prefix has tokens, come before those of the pass; shorter prefixes are
    padded on the right. `attention_mask` is additive, [B, 1, L, P + L] in `dtype`, or a dictionary of such masks
    by layer type if the config has `layer_types`; a sliding window counts depth. `use_cache` is False. Raises
    ValueError for a kind of attention that a mask cannot express.
    """
    length = max(len(pack.tokens) for pack in packs)
    before = torch.tensor([pack.depths[0] for pack in packs], device=device)
    input_ids = torch.full((len(packs), length), pad_token_id)
    depths = torch.zeros_like(input_ids)
    # the index of each node's last descendant; padding attends to itself, since a softmax needs a key
    last = torch.arange(length).repeat(len(packs), 1)
    for row, pack in enumerate(packs):
        size = len(pack.tokens)
        input_ids[row, :size] = torch.tensor(pack.tokens)
        depths[row, :size] = torch.tensor(pack.depths)
        last[row, :size] = torch.tensor(_last_descendants(pack.parents))
    input_ids, depths, last = input_ids.to(device), depths.to(device), last.to(device)

    index = torch.arange(length, device=device)
    ancestors = (index[None, :] <= index[:, None]) & (index[None, :, None] <= last[:, None, :])
    prefix = torch.arange(int(before.max()), device=device).repeat(len(packs), 1)
    seen = torch.cat([(prefix < before[:, None])[:, None].expand(-1, length, -1), ancestors], -1)
    key_depths = torch.cat([prefix, depths], -1)

    def mask(kind: str) -> Any:
        allowed = seen
        if kind == "sliding_attention" and window is not None:
            allowed = allowed & (key_depths[:, None, :] > depths[:, :, None] - window)
        elif kind != "full_attention":
            raise ValueError(f"its layers of type {kind!r} cannot be packed")
        return _additive(allowed, dtype)

    text = config.get_text_config()
    window: int | None = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None)
    if kinds is not None:  # as transformers makes masks in `create_masks_for_generate`
        attention_mask = {kind: mask(kind) for kind in sorted(set(kinds))}
    elif getattr(text, "attention_chunk_size", None) is not None:
        attention_mask = mask("chunked_attention")
    else:
        attention_mask = mask("full_attention" if window is None else "sliding_attention")
    return {"input_ids": input_ids, "position_ids": depths, "attention_mask": attention_mask, "use_cache": False}


def _additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    # finfo.min rather than -inf: a row without an allowed key would be NaN in eager attention
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


def _last_descendants(parents: list[int]) -> list[int]:
    last = list(range(len(parents)))
    for index in range(len(parents) - 1, -1, -1):
        parent = parents[index]
        if parent >= 0 and last[index] > last[parent]:
            last[parent] = last[index]
    return last


def batches(lengths: Sequence[int], max_tokens: int, alone_above: float = math.inf) -> list[list[int]]:
    """Batches of indices of like lengths, each of up to `max_tokens` with padding, or of a single longer sequence.

    A sequence longer than `alone_above` is a batch of its own. The longest come first, since they take most memory,
    then the others in a mixed order, so that progress tells the time left.
    """
    result: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        longest = lengths[result[-1][0]] if result else 0
        if result and longest <= alone_above and (len(result[-1]) + 1) * longest <= max_tokens:
            result[-1].append(index)
        else:
            result.append([index])
    return result[:1] + random.Random(0).sample(result[1:], len(result[1:]))
