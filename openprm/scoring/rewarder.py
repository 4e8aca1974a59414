"""Rewards of token sequences, each shared prefix computed once. Knows token ids only.

`SequenceRewarder` packs the sequences of a group (`openprm.scoring.packing`) and reads the reward at every sequence's
end: the same as one plain pass per sequence, in one. What several groups begin with, the prompt of their responses, is
computed once as well, and its keys and values stand before each of them. Where a model cannot do either exactly (which
is tried out), it is not done.

It travels with published models: it imports nothing but torch, `packing` and `forward`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .forward import Passes, behind, inference
from .packing import Pack, batches, pack, share

logger = logging.getLogger(__name__)

#: Tokens computed in one pass, padding included.
DEFAULT_MAX_TOKENS = 8192

#: Fewer tokens than this are computed again rather than shared: a shared prefix takes a pass of its own.
SHORTEST_SHARED = 16

#: How far packed and plain hidden states may differ, relatively, for packing to count as exact. Over 32 random
#: layers rounding alone makes 3e-6, 6e-3 and 4e-2 in these; a model that cannot be packed is off by 0.5.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}

Groups = Sequence[Sequence[Sequence[int]]]


class SequenceRewarder:
    """Rewards of token sequences from a sequence-classification model with one label.

    A group of sequences is what shares prefixes: all prefixes of one response, the two sides of a pair.

    `packed`: True packs, False takes one plain pass for each distinct sequence, None (default) tries on one random
    input whether packing is exact with this model, and falls back to plain passes with a warning that says
    why. After construction, `packed` says what was decided, and `difference` how far the hidden states of packed and
    plain passes were apart (largest relative difference; None where they were not compared). `shares_prompts` says
    whether what several groups begin with is computed once: where packing is used and, tried likewise, this is exact.

    A causal model's reward is read at the last token of each sequence, whatever that token is, as vLLM does:
    transformers' own classes read it at the right-most token that is not padding, the same unless padding ends a turn.
    """

    def __init__(self, model: Any, packed: bool | None = None):
        if model.config.num_labels != 1:
            raise ValueError(
                f"a reward model has one label, this one has {model.config.num_labels}: "
                "load it with num_labels=1, or use a reward model"
            )
        self.model = model
        self.difference: float | None = None
        self._calls = Passes(model)
        self._switch = _rotary_switch(model.config.get_text_config())
        self._warned = False
        unfit = self._calls.unfit()
        if packed and unfit:
            raise ValueError(f"the model cannot be packed: {unfit}; use packed=None")
        self.packed = packed is not False  # also while it is tried out
        plain = cache(self._calls.plain_state)
        if packed is None:
            reason = unfit or self._tried(math.inf, plain)
            self.packed = self._used(reason, "Step rewards take one plain pass per step, which is slower")
        self.shares_prompts = self.packed and self._used(
            self._tried(1, plain), "The prompt is computed again for each of its responses, which is slower"
        )

    def rewards(
        self,
        groups: Groups,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        report: Callable[[int, int], None] | None = None,
    ) -> list[list[float]]:
        """The reward of every sequence of every group, in the order given, in evaluation mode.

        `max_tokens` bounds one pass, padding and shared prefixes included (a longer pack still takes a pass of its
        own); it changes speed and memory, not the rewards. Equal sequences have equal rewards. `report` is called
        after each pass with the groups finished (by the share of the work that is done) and the tokens computed since
        the last. Raises ValueError for an empty sequence.
        """
        asked = [tuple(map(tuple, group)) for group in groups]
        distinct = list(dict.fromkeys(asked))
        self._warn_of_padding(distinct)
        packs, where = self._rows(distinct)
        found: list[list[float]] = [[] for _ in packs]
        computed = 0
        with inference(self.model):
            for batch, values in self._passes(packs, max_tokens):
                ends = iter(values.tolist())
                for index in batch:
                    found[index] = [next(ends) for _ in packs[index].ends]
                before, computed = computed, computed + len(batch)
                if report is not None:
                    groups_done = len(asked) * computed // len(packs) - len(asked) * before // len(packs)
                    report(groups_done, sum(len(packs[index].tokens) for index in batch))
        flat = iter([found[row][position] for row, position in where])
        # Equal sequences in different packs may differ in their last bits: the first is used for all, so that answers
        # that share their worst step are tied.
        first: dict[tuple[int, ...], float] = {}
        rewards = {group: [first.setdefault(sequence, next(flat)) for sequence in group] for group in distinct}
        return [list(rewards[group]) for group in asked]

    def forward(self, model: Any, groups: Groups) -> Tensor:
        """The rewards of all sequences, group after group, as one float32 tensor [number of sequences].

        For training: differentiable, in the mode the model is in, and with exactly one call of `model`, which
        is this rewarder's model or whatever wraps it (DDP, FSDP, DeepSpeed): its hooks must see the call.
        Raises ValueError for no sequences, an empty one, or more rows than one without a padding token.
        """
        packs, where = self._rows(groups)
        if not packs:
            raise ValueError("no sequences to reward")
        if len(packs) > 1 and self.pad_token_id is None:
            raise ValueError(
                "the model's config has no pad_token_id, so its passes hold one row only: give the tokenizer "
                "a padding token of its own (not EOS) and set model.config.pad_token_id to its id"
            )
        values = self._calls.packed(model, packs)[1] if self.packed else self._calls.plain(model, packs)
        starts = [0]
        for row in packs:
            starts.append(starts[-1] + len(row.ends))
        return values[torch.tensor([starts[row] + position for row, position in where], device=values.device)]

    @property
    def pad_token_id(self) -> int | None:
        """The model's padding token, as its config has it now."""
        return self._calls.pad_token_id

    def _warn_of_padding(self, groups: Groups) -> None:
        if not self._warned and any(sequence[-1:] == (self.pad_token_id,) for group in groups for sequence in group):
            self._warned = True
            logger.warning(
                "Sequences end with the model's padding token (%s). Their rewards are read at that token, but by "
                "transformers' own classes at the one before. A reward model should have a padding token of its own.",
                self.pad_token_id,
            )

    # ---- What is computed together ----

    def _rows(self, groups: Groups) -> tuple[list[Pack], list[tuple[int, int]]]:
        """The packs to compute, and for each sequence its pack and its place in it."""
        packs: list[Pack] = []
        where: list[tuple[int, int]] = []
        if self.packed:
            for group in groups:
                together = all(len(sequence) <= self._switch for sequence in group)
                for part in [group] if together else [[sequence] for sequence in group]:
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

    def _passes(self, packs: Sequence[Pack], max_tokens: int) -> Iterator[tuple[list[int], Tensor]]:
        """By pass: the indices of its packs, and their rewards, pack after pack."""
        if self.packed:
            shortest = SHORTEST_SHARED if self.shares_prompts else math.inf
            for indices, (_, rewards) in self._packed_passes(packs, max_tokens, shortest):
                yield indices, rewards
            return
        for batch in batches([len(row.tokens) for row in packs], max_tokens, self._switch):
            yield batch, self._calls.plain(self.model, [packs[index] for index in batch])

    def _packed_passes(
        self, packs: Sequence[Pack], max_tokens: int, shortest: float
    ) -> Iterator[tuple[list[int], tuple[Tensor, Tensor]]]:
        """By pass: the indices of its packs, and hidden states and rewards at their ends.

        First what shares no prefix of at least `shortest` tokens. Then, taking as many prefixes at a time as
        `max_tokens` allows, what is behind any of these: a prompt with few responses makes no small passes.
        """
        # Where a reward depends on the longest sequence of its pass, nothing is shared.
        prefixes = [pack.prefix() if len(pack.tokens) <= self._switch else [] for pack in packs]
        clusters = share(prefixes, shortest)
        alone = [index for cluster in clusters if not cluster.tokens for index in cluster.items]
        for batch in batches([len(packs[index].tokens) for index in alone], max_tokens, self._switch):
            indices = [alone[place] for place in batch]
            yield indices, self._calls.packed(self.model, [packs[index] for index in indices])
        shared = [cluster for cluster in clusters if cluster.tokens]
        for chosen in batches([len(cluster.tokens) for cluster in shared], max_tokens):
            prompts = [shared[place].tokens for place in chosen]
            layers = self._calls.prefixes(prompts)
            rows = [(index, row) for row, place in enumerate(chosen) for index in shared[place].items]
            rests = [packs[index].behind(len(prompts[row])) for index, row in rows]
            longest = len(prompts[0])
            for batch in batches([longest + len(rest.tokens) for rest in rests], max_tokens):
                part = [rests[place] for place in batch]
                before = behind(layers, [rows[place][1] for place in batch], max(rest.depths[0] for rest in part))
                yield [rows[place][0] for place in batch], self._calls.packed(self.model, part, before)

    # ---- The trial ----

    def _used(self, reason: str, otherwise: str) -> bool:
        if reason:
            logger.warning("%s: %s.", otherwise, reason)
        return not reason

    def _tried(self, shortest: float, plain: Callable[[tuple[int, ...]], Tensor]) -> str:
        """Why packing, with prefixes of at least `shortest` tokens shared, is not exact; empty if it is."""
        text = self.model.config.get_text_config()
        groups = _trial(text.vocab_size, self.pad_token_id)
        with inference(self.model), _small_window(text):
            try:
                self.difference = self._difference(groups, shortest, plain)
            except Exception as error:  # what a model does not understand, in whatever way, is not packed
                message = str(error).partition("\n")[0]
                return f"packing failed on a trial input ({type(error).__name__}: {message})"
        tolerance = TOLERANCE[self.model.dtype]
        if not self.difference <= tolerance:  # written so that NaN is a mismatch
            return f"packed and plain hidden states differ by {self.difference:.1e} (tolerance {tolerance:.0e})"
        return ""

    def _difference(self, groups: Groups, shortest: float, plain: Callable[[tuple[int, ...]], Tensor]) -> float:
        """The largest relative difference of the hidden states at the ends.

        Hidden states tell more than the one reward made of them: a new head may be zero.
        """
        largest = 0.0
        packs = [pack(group) for group in groups]
        for batch, (hidden, _) in self._packed_passes(packs, DEFAULT_MAX_TOKENS, shortest):
            sequences = [sequence for index in batch for sequence in groups[index]]
            for found, sequence in zip(hidden, sequences, strict=True):
                expected = plain(tuple(sequence))
                distance = (found - expected).float().norm() / expected.float().norm()
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
    """Groups of different sizes, four of which share two prefixes.

    Growing prefixes with an end of turn each, and two sides of a pair; a pair and a single sequence; and many
    branches, the last of them further behind their prefix than a window that is no mask's (GPT-Neo's, 256).
    """
    generator = torch.Generator().manual_seed(0)  # its own: training's random state stays as it is
    # Padding inside a sequence means something else to some models.
    usable = torch.tensor([token for token in range(vocabulary) if token != pad_token_id])
    ids = usable[torch.randint(len(usable), (400,), generator=generator)].tolist()
    turn, side, end = ids[:48], ids[48:64], ids[64:67]
    first = [[turn[:size] + end for size in (16, 24, 32, 48)], [turn[:16] + side + end, turn[:20] + end]]
    second = [[side[:9] + end, side[:12] + end], [side + end + turn[:8]]]
    return [*first, *second, [ids[360:] + ids[start : start + 40] for start in range(67, 347, 40)]]


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
