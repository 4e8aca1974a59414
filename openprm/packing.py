"""Sequences that share prefixes, computed once. Knows token ids only.

Step rewards (paper, section 3.2) need every prefix of a response as a sequence of its own. They share
nearly all their tokens: `pack` keeps each shared prefix once, `collate` gives every token the position
it has in its sequence and lets it attend to its own ancestors only, and `SequenceRewarder` reads the reward
at every sequence's end: the same as one plain pass per sequence, in one. Where a model cannot be packed
exactly (`SequenceRewarder` tries it out), each distinct sequence takes a plain pass.

It travels with published models: it imports nothing but torch.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

#: Tokens computed in one pass, padding included.
DEFAULT_MAX_TOKENS = 8192

#: How far packed and plain hidden states may differ, relatively, for packing to count as exact. Over 32 random
#: layers rounding alone makes 3e-6, 6e-3 and 4e-2 in these; a model that cannot be packed is off by 0.5.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}

_NO_HEAD = "it has no single `score` head over its tokens, as decoders' reward models do"


@dataclass(frozen=True)
class Pack:
    """A trie of sequences, flattened depth first: a node's descendants follow it directly.

    tokens: token id of each node
    parents: index of the node before it in its sequences, -1 at a start
    depths: its position in its sequences
    ends: for each sequence, the index of its last node
    """

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    ends: list[int]


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
    # In lexicographic order, all that a sequence shares with any one before it, it shares with the last.
    for index in sorted(range(len(rows)), key=rows.__getitem__):
        row = rows[index]
        if not row:
            raise ValueError(f"sequence {index} is empty: there is no token to read a reward at")
        shared = _shared(before, row)
        new = range(len(tokens), len(tokens) + len(row) - shared)
        if new:
            tokens += row[shared:]
            parents += [path[shared - 1] if shared else -1, *new[:-1]]
            depths += range(shared, len(row))
        path = path[:shared] + list(new)
        ends[index] = path[-1]
        before = row
    return Pack(tokens, parents, depths, ends)


def _shared(left: list[int], right: list[int]) -> int:
    """Length of the longest common prefix, by bisection over slices (compared at C speed)."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def collate(
    packs: Sequence[Pack], pad_token_id: int, config: Any, dtype: torch.dtype, device: torch.device | str
) -> dict[str, Any]:
    """The inputs of one forward pass over the packs, one a row, padded on the right.

    `input_ids` and `position_ids` (depth) are [B, L]; `attention_mask` is additive, [B, 1, L, L] in `dtype`,
    or a dictionary of such masks by layer type where the config has `layer_types`, a sliding window being counted
    in depth. `use_cache` is False. Raises ValueError for a kind of attention that a mask cannot express.
    """
    length = max(len(pack.tokens) for pack in packs)
    input_ids = torch.full((len(packs), length), pad_token_id)
    depths = torch.zeros_like(input_ids)
    # The index of each node's last descendant. Padding sees itself only: a softmax needs something to see.
    last = torch.arange(length).repeat(len(packs), 1)
    for row, pack in enumerate(packs):
        size = len(pack.tokens)
        input_ids[row, :size] = torch.tensor(pack.tokens)
        depths[row, :size] = torch.tensor(pack.depths)
        last[row, :size] = torch.tensor(_last_descendants(pack.parents))
    input_ids, depths, last = input_ids.to(device), depths.to(device), last.to(device)

    index = torch.arange(length, device=device)
    ancestors = (index[None, :] <= index[:, None]) & (index[None, :, None] <= last[:, None, :])

    def additive(kind: str) -> Tensor:
        allowed = ancestors
        if kind == "sliding_attention" and window is not None:
            allowed = allowed & (depths[:, None, :] > depths[:, :, None] - window)
        elif kind != "full_attention":
            raise ValueError(f"its layers of type {kind!r} cannot be packed")
        # finfo.min rather than -inf: a row without any allowed key would be NaN in eager attention.
        mask = torch.zeros(allowed.shape, dtype=dtype, device=device)
        return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]

    text = config.get_text_config()
    window: int | None = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None)
    attention_mask: Tensor | dict[str, Tensor]
    if kinds is not None:  # the rule by which transformers itself makes masks ahead (`create_masks_for_generate`)
        attention_mask = {kind: additive(kind) for kind in sorted(set(kinds))}
    elif getattr(text, "attention_chunk_size", None) is not None:
        attention_mask = additive("chunked_attention")
    else:
        attention_mask = additive("full_attention" if window is None else "sliding_attention")
    return {
        "input_ids": input_ids,
        "position_ids": depths,
        "attention_mask": attention_mask,
        "use_cache": False,
    }


def _last_descendants(parents: list[int]) -> list[int]:
    last = list(range(len(parents)))
    for index in range(len(parents) - 1, -1, -1):
        parent = parents[index]
        if parent >= 0 and last[index] > last[parent]:
            last[parent] = last[index]
    return last


def batches(lengths: Sequence[int], max_tokens: int, alone_above: float = math.inf) -> list[list[int]]:
    """Indices by falling length, cut where a padded batch would exceed `max_tokens` (never below one each).

    What is longer than `alone_above` is a batch of its own.
    """
    result: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        longest = lengths[result[-1][0]] if result else 0
        if result and longest <= alone_above and (len(result[-1]) + 1) * longest <= max_tokens:
            result[-1].append(index)
        else:
            result.append([index])
    return result


class SequenceRewarder:
    """Rewards of token sequences from a sequence-classification model with one label.

    A group of sequences is what shares prefixes: all prefixes of one response, the two sides of a pair.

    `packed`: True packs, False takes one plain pass for each distinct sequence, None (default) tries on one random
    input whether packing is exact with this model, and falls back to plain passes with a warning that says
    why. After construction, `packed` says what was decided, and `difference` how far the hidden states of packed and
    plain passes were apart (largest relative difference; None where they were not compared).

    A causal model reads its reward at the right-most token that is not padding, as transformers does; where
    the model has no padding token, passes hold one row.
    """

    def __init__(self, model: Any, packed: bool | None = None):
        if model.config.num_labels != 1:
            raise ValueError(
                f"a reward model has one label, this one has {model.config.num_labels}: "
                "load it with num_labels=1, or use a reward model"
            )
        self.model = model
        self.difference: float | None = None
        # By name at any level, so that a head that PEFT has wrapped is found too.
        self._heads = [module for name, module in model.named_modules() if name.rpartition(".")[2] == "score"]
        self._plain_options = (
            {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}
        )
        self._switch = _rotary_switch(model.config.get_text_config())
        self._warned = False
        if packed and len(self._heads) != 1:
            raise ValueError(f"the model cannot be packed: {_NO_HEAD}; use packed=None")
        self.packed = packed if packed is not None else self._can_pack()

    def rewards(
        self, groups: Sequence[Sequence[Sequence[int]]], max_tokens: int = DEFAULT_MAX_TOKENS
    ) -> list[list[float]]:
        """The reward of every sequence of every group, in the order given, in evaluation mode.

        `max_tokens` bounds one pass, padding included (a longer pack still takes a pass of its own); it changes
        speed and memory, not the rewards. Raises ValueError for an empty sequence.
        """
        packs, where = self._rows(groups)
        found: list[list[float]] = [[] for _ in packs]
        with _evaluating(self.model), torch.no_grad():
            lengths = [len(pack.tokens) for pack in packs]
            for batch in batches(lengths, max_tokens if self._pads() else 0, self._switch):
                values = iter(self._pass(self.model, [packs[index] for index in batch]).tolist())
                for index in batch:
                    found[index] = [next(values) for _ in packs[index].ends]
        flat = iter([found[row][position] for row, position in where])
        return [[next(flat) for _ in group] for group in groups]

    def forward(self, model: Any, groups: Sequence[Sequence[Sequence[int]]]) -> Tensor:
        """The rewards of all sequences, group after group, as one float32 tensor [number of sequences].

        For training: differentiable, in the mode the model is in, and with exactly one call of `model`, which
        is this rewarder's model or whatever wraps it (DDP, FSDP, DeepSpeed): its hooks must see the call.
        Raises ValueError for no sequences, an empty one, or more rows than one without a padding token.
        """
        packs, where = self._rows(groups)
        if not packs:
            raise ValueError("no sequences to reward")
        if len(packs) > 1 and not self._pads():
            raise ValueError(
                "the model's config has no pad_token_id, so its passes hold one row only: give the tokenizer "
                "a padding token of its own (not EOS) and set model.config.pad_token_id to its id"
            )
        values = self._pass(model, packs)
        starts = [0]
        for pack in packs:
            starts.append(starts[-1] + len(pack.ends))
        return values[torch.tensor([starts[row] + position for row, position in where], device=values.device)]

    @property
    def pad_token_id(self) -> int | None:
        """The model's padding token, as its config has it now."""
        return self.model.config.get_text_config().pad_token_id

    def _pads(self) -> bool:
        return self.pad_token_id is not None

    def _rows(self, groups: Sequence[Sequence[Sequence[int]]]) -> tuple[list[Pack], list[tuple[int, int]]]:
        """The packs to compute, and for each sequence its pack and its place in it."""
        packs: list[Pack] = []
        where: list[tuple[int, int]] = []
        if self.packed:
            for group in groups:
                visible = [self._visible(sequence) for sequence in group]
                together = all(len(sequence) <= self._switch for sequence in visible)
                for part in [visible] if together else [[sequence] for sequence in visible]:
                    where += [(len(packs), position) for position in range(len(part))]
                    packs += [pack(part)] if part else []
            return packs, where
        seen: dict[tuple[int, ...], int] = {}
        for sequence in (sequence for group in groups for sequence in group):
            row = seen.setdefault(tuple(sequence), len(seen))
            if row == len(packs):
                packs.append(pack([sequence]))
            where.append((row, 0))
        return packs, where

    def _visible(self, sequence: Sequence[int]) -> Sequence[int]:
        """The sequence up to where transformers reads its reward: without padding tokens at its end."""
        size = len(sequence)
        while size > 1 and sequence[size - 1] == self.pad_token_id:
            size -= 1
        if size < len(sequence) and not self._warned:
            self._warned = True
            logger.warning(
                "Sequences end with the padding token (%s), so transformers reads their rewards at the token before "
                "it, and so do we; other engines may not. A reward model should have a padding token of its own.",
                self.pad_token_id,
            )
        return sequence[:size]

    def _pass(self, model: Any, packs: Sequence[Pack]) -> Tensor:
        """Rewards at the packs' ends, pack after pack, in float32, by one call of `model`."""
        if not self.packed:
            return model(**self._plain_inputs(packs)).logits[:, 0].float()
        _, _, logits = self._head_call(model, self._packed_inputs(packs))
        rows = [row for row, pack in enumerate(packs) for _ in pack.ends]
        ends = [end for pack in packs for end in pack.ends]
        return logits[rows, ends, 0].float()

    def _packed_inputs(self, packs: Sequence[Pack]) -> dict[str, Any]:
        device = self.model.device
        dtype = self.model.dtype
        if torch.is_autocast_enabled(device.type):  # a float32 mask's minimum would be -inf in the attention's dtype
            dtype = torch.get_autocast_dtype(device.type)
        return collate(packs, self.pad_token_id or 0, self.model.config, dtype, device)

    def _plain_inputs(self, packs: Sequence[Pack]) -> dict[str, Any]:
        """One unbranched pack a row, padded on the right."""
        length = max(len(pack.tokens) for pack in packs)
        input_ids = torch.full((len(packs), length), self.pad_token_id or 0)
        attention_mask = torch.zeros_like(input_ids)
        for row, pack in enumerate(packs):
            input_ids[row, : len(pack.tokens)] = torch.tensor(pack.tokens)
            attention_mask[row, : len(pack.tokens)] = 1
        device = self.model.device
        inputs = {"input_ids": input_ids.to(device), "attention_mask": attention_mask.to(device)}
        return {**inputs, **self._plain_options}

    def _head_call(self, model: Any, inputs: dict[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """One call of the (wrapped) model: its output, and hidden states [B, L, D] and logits [B, L, 1] at the head.

        By a hook: calling the backbone itself would go round what wraps the model.
        """
        calls: list[tuple[Tensor, Tensor]] = []
        (head,) = self._heads
        handle = head.register_forward_hook(lambda _, args, output: calls.append((args[0], output)))
        try:
            output = model(**inputs)
        finally:
            handle.remove()
        if len(calls) != 1 or calls[0][1].shape != (*inputs["input_ids"].shape, 1):
            raise RuntimeError("the model's `score` head does not give one logit for each token in one call")
        return output, *calls[0]

    def _can_pack(self) -> bool:
        reason = self._why_not()
        if reason:
            logger.warning("Step rewards take one plain pass per step, which is slower: %s.", reason)
        return not reason

    def _why_not(self) -> str:
        """Why packing is not exact with this model; empty if it is. One random input, packed and plain."""
        config = self.model.config
        if len(self._heads) != 1:
            return _NO_HEAD
        if config._attn_implementation not in ("sdpa", "eager"):
            return (
                f"attention by {config._attn_implementation!r} takes no mask of ours "
                '(to pack, load the model with attn_implementation="sdpa" or "eager")'
            )
        text = config.get_text_config()
        groups = _trial(text.vocab_size, self.pad_token_id)
        with _evaluating(self.model), _small_window(text), torch.no_grad():
            try:
                self.difference = self._difference(groups)
            except Exception as error:  # what a model does not understand, in whatever way, is not packed
                return f"packing failed on a trial input ({type(error).__name__}: {error})"
        tolerance = TOLERANCE[self.model.dtype]
        if not self.difference <= tolerance:  # written so that NaN is a mismatch
            return f"packed and plain hidden states differ by {self.difference:.1e} (tolerance {tolerance:.0e})"
        return ""

    def _difference(self, groups: Sequence[Sequence[Sequence[int]]]) -> float:
        """The largest relative difference of the hidden states at the ends.

        Hidden states tell more than the one reward made of them: a new head may be zero.
        """
        packs = [pack(group) for group in groups]
        hidden: list[Tensor] = []
        for part in [packs] if self._pads() else [[pack] for pack in packs]:
            hidden += self._head_call(self.model, self._packed_inputs(part))[1]
        largest = 0.0
        for row, group in enumerate(groups):
            for end, sequence in zip(packs[row].ends, group, strict=True):
                output, plain, logits = self._head_call(self.model, self._plain_inputs([pack([sequence])]))
                if not torch.equal(output.logits.float(), logits[:, -1].float()):
                    raise RuntimeError("the reward is not the head's logit at the last token")
                distance = (hidden[row][end] - plain[0, -1]).float().norm() / plain[0, -1].float().norm()
                largest = max(largest, distance.nan_to_num(nan=torch.inf).item())
        return largest


def _rotary_switch(text: Any) -> float:
    """The length beyond which rotary frequencies depend on the longest sequence of a pass ("longrope", "dynamic").

    Beyond it only a pass of one's own is exact, packed or not.
    """
    parameters: Mapping[str, Any] = getattr(text, "rope_parameters", None) or {}
    switching = [  # by layer type, or the same for all
        kind.get("original_max_position_embeddings") or text.max_position_embeddings
        for kind in [parameters, *parameters.values()]
        if isinstance(kind, Mapping) and kind.get("rope_type") in ("longrope", "dynamic")
    ]
    return min(switching, default=math.inf)


def _trial(vocabulary: int, pad_token_id: int | None) -> list[list[list[int]]]:
    """Two groups of different sizes: growing prefixes with an end of turn each, and two sides of a pair."""
    generator = torch.Generator().manual_seed(0)  # its own: training's random state stays as it is
    # Padding inside a sequence means something else to some models.
    usable = torch.tensor([token for token in range(vocabulary) if token != pad_token_id])
    ids = usable[torch.randint(len(usable), (96,), generator=generator)].tolist()
    turn, side, end = ids[:48], ids[48:64], ids[64:67]
    return [[turn[:size] + end for size in (16, 24, 32, 48)], [turn[:16] + side + end, turn[:20] + end]]


@contextmanager
def _small_window(text: Any) -> Iterator[None]:
    """A sliding window, if there is one, made so small that the trial input notices it."""
    window = getattr(text, "sliding_window", None)
    if window is None:
        yield
        return
    text.sliding_window = min(window, 8)
    try:
        yield
    finally:
        text.sliding_window = window


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards each of its modules in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
