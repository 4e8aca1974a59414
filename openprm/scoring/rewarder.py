"""Rewards of token sequences, with each shared prefix computed once.

`SequenceRewarder` packs the sequences of a group (`openprm.scoring.packing`) and reads the reward at the end of each:
one pass gives the same as a plain pass per sequence. A prompt that several groups share is computed once as well; the
passes of their responses use its keys and values. Each is done only if it is exact with the model, which is tried.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import cache
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor

from .forward import Passes, cached_prefixes, inference
from .packing import Pack, batches, pack, share

logger = logging.getLogger(__name__)

#: Tokens computed in one pass, padding included.
DEFAULT_MAX_TOKENS = 8192

#: Shorter prefixes are computed again rather than shared, since a shared prefix takes a pass of its own.
SHORTEST_SHARED = 16

#: The largest relative difference between packed and plain hidden states if packing is exact. Over 32 random layers,
#: rounding alone makes 3e-6, 6e-3 and 4e-2 in the last three; a model that cannot be packed differs by 0.5.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}

Groups = Sequence[Sequence[Sequence[int]]]


class SequenceRewarder:
    """Rewards of token sequences from a sequence-classification model with one label.

    The sequences of a group share prefixes: all prefixes of one response, or the two sides of a pair.

    packed: True packs, False takes one plain pass per distinct sequence, None (default) tries on one random input
      whether packing is exact with this model, and if not takes plain passes, with a warning that says why. Afterwards
      it says what was decided.
    difference: the largest relative difference found between the hidden states of packed and plain passes; None if
      they were not compared.
    shares_prompts: whether a prefix that several groups share is computed once. This takes packing, and is tried too.

    The reward of a causal model is read at the last token of each sequence, whatever that is, as in vLLM.
    (transformers reads it at the last token that is not padding, which is the same unless padding ends a turn.)
    """

    def __init__(self, model: Any, packed: bool | None = None):
        if model.config.num_labels != 1:
            raise ValueError(
                f"a reward model has one label, this one has {model.config.num_labels}: "
                "load it with num_labels=1, or use a reward model"
            )
        self.model = model
        self.difference: float | None = None
        self.calls = Passes(model)
        self._switch = rotary_switch(model.config.get_text_config())
        self._warned = False
        unfit = self.calls.unfit()
        if packed and unfit:
            raise ValueError(f"the model cannot be packed: {unfit}; use packed=None")
        self.packed = packed is not False  # also while it is tried
        plain = cache(self.calls.plain_state)
        if packed is None:
            reason = unfit or self._tried(math.inf, plain)
            self.packed = self._used(reason, "Step rewards take one plain pass per step, which is slower")
        self.shares_prompts = self.packed and self._used(
            self._tried(1, plain), "The prompt is computed again for each of its responses, which is slower"
        )

    def through(self, calls: Passes) -> SequenceRewarder:
        """A rewarder that decides as this one does, by other passes of the same model."""
        made = copy(self)
        made.calls = calls
        return made

    def rewards(
        self,
        groups: Groups,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        report: Callable[[int, int], None] | None = None,
    ) -> list[list[float]]:
        """The reward of each sequence of each group, in the order given, in evaluation mode.

        `max_tokens` limits one pass, padding and shared prefixes included (a longer pack takes a pass of its own); it
        changes speed and memory, not the rewards. Equal sequences have equal rewards. `report` is called after each
        pass with the number of groups finished (their share of all tokens) and of tokens computed since the last
        call. Raises ValueError for an empty sequence.
        """
        asked = [tuple(map(tuple, group)) for group in groups]
        distinct = list(dict.fromkeys(asked))
        self._warn_of_padding(distinct)
        self.calls.prepare(chain.from_iterable(distinct))
        packs, where = self._rows(distinct)
        found: list[list[float]] = [[] for _ in packs]
        computed, total = 0, sum(len(row.tokens) for row in packs)
        with inference(self.model):
            for batch, values in self._passes(packs, max_tokens):
                ends = iter(values.tolist())
                for index in batch:
                    found[index] = [next(ends) for _ in packs[index].ends]
                before, computed = computed, computed + sum(len(packs[index].tokens) for index in batch)
                if report is not None:  # by tokens, since the longest are computed first
                    groups_done = len(asked) * computed // total - len(asked) * before // total
                    report(groups_done, computed - before)
        flat = iter([found[row][position] for row, position in where])
        # Rewards of equal sequences in different packs may differ in their last bits. The first is used for all, so
        # that answers with the same worst step are tied.
        first: dict[tuple[int, ...], float] = {}
        rewards = {group: [first.setdefault(sequence, next(flat)) for sequence in group] for group in distinct}
        return [list(rewards[group]) for group in asked]

    def forward(self, model: Any, groups: Groups) -> Tensor:
        """The rewards of all sequences, group after group, as one float32 tensor [number of sequences].

        For training: differentiable, in the model's current mode, and with exactly one call of `model`, which is this
        rewarder's model or a wrapper (DDP, FSDP, DeepSpeed) whose hooks must see the call. Raises ValueError if there
        are no sequences or an empty one, or several rows without a padding token.
        """
        packs, where = self._rows(groups)
        if not packs:
            raise ValueError("no sequences to reward")
        if len(packs) > 1 and self.calls.pad_token_id is None:
            raise ValueError(
                "the model's config has no pad_token_id, so its passes hold one row only: give the tokenizer "
                "a padding token of its own (not EOS) and set model.config.pad_token_id to its id"
            )
        values = self.calls.packed(model, packs)[1] if self.packed else self.calls.plain(model, packs)
        starts = [0, *accumulate(len(row.ends) for row in packs)]
        return values[torch.tensor([starts[row] + position for row, position in where], device=values.device)]

    def _warn_of_padding(self, groups: Groups) -> None:
        pad = self.calls.pad_token_id
        if not self._warned and any(sequence[-1:] == (pad,) for group in groups for sequence in group):
            self._warned = True
            logger.warning(
                "Sequences end with the model's padding token (%s). Their rewards are read at that token, but by "
                "transformers at the one before. A reward model should have a padding token of its own.",
                pad,
            )

    # ---- What is computed together ----

    def _rows(self, groups: Groups) -> tuple[list[Pack], list[tuple[int, int]]]:
        """The packs to compute, and for each sequence its pack and its index there."""
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
        """For each pass, the indices of its packs, and their rewards, pack after pack."""
        if self.packed:
            shortest = SHORTEST_SHARED if self.shares_prompts else math.inf
            yield from ((batch, found[1]) for batch, found in self._packed_passes(packs, max_tokens, shortest))
            return
        for batch in batches([len(row.tokens) for row in packs], max_tokens, self._switch):
            yield batch, self.calls.plain(self.model, [packs[index] for index in batch])

    def _packed_passes(
        self, packs: Sequence[Pack], max_tokens: int, shortest: float
    ) -> Iterator[tuple[list[int], tuple[Tensor, Tensor]]]:
        """For each pass, the indices of its packs, and hidden states and rewards at their ends.

        First the packs that share no prefix of at least `shortest` tokens. Then, for as many prefixes at a time as
        `max_tokens` allows, all that follows any of them, so that prompts with few responses share passes.
        """
        # Nothing is shared if the reward depends on the longest sequence of its pass.
        prefixes = [pack.prefix() if len(pack.tokens) <= self._switch else [] for pack in packs]
        clusters = share(prefixes, shortest)
        alone = [index for cluster in clusters if not cluster.tokens for index in cluster.items]
        for batch in batches([len(packs[index].tokens) for index in alone], max_tokens, self._switch):
            indices = [alone[place] for place in batch]
            yield indices, self.calls.packed(self.model, [packs[index] for index in indices])
        shared = [cluster for cluster in clusters if cluster.tokens]
        for chosen in batches([len(cluster.tokens) for cluster in shared], max_tokens):
            prompts = [shared[place].tokens for place in chosen]
            layers = self.calls.prefixes(prompts)
            rows = [(index, row) for row, place in enumerate(chosen) for index in shared[place].items]
            rests = [packs[index].without_prefix(len(prompts[row])) for index, row in rows]
            longest = len(prompts[0])
            for batch in batches([longest + len(rest.tokens) for rest in rests], max_tokens):
                part = [rests[place] for place in batch]
                size = max(rest.depths[0] for rest in part)
                before = cached_prefixes(layers, [rows[place][1] for place in batch], size)
                yield [rows[place][0] for place in batch], self.calls.packed(self.model, part, before)

    # ---- The trial ----

    def _used(self, reason: str, otherwise: str) -> bool:
        if reason:
            logger.warning("%s: %s.", otherwise, reason)
        return not reason

    def _tried(self, shortest: float, plain: Callable[[tuple[int, ...]], Tensor]) -> str:
        """Why packing, with prefixes of at least `shortest` tokens shared, is not exact; empty if it is."""
        text = self.model.config.get_text_config()
        groups = trial_groups(text.vocab_size, self.calls.pad_token_id)
        window = getattr(text, "sliding_window", None)
        if window is not None:
            text.sliding_window = min(window, 8)  # shorter than the trial input
        try:
            with inference(self.model):
                self.difference = self._difference(groups, shortest, plain)
        except Exception as error:  # models fail in many ways
            message = str(error).partition("\n")[0]
            return f"packing failed on a trial input ({type(error).__name__}: {message})"
        finally:
            if window is not None:
                text.sliding_window = window
        tolerance = TOLERANCE[self.model.dtype]
        if not self.difference <= tolerance:  # written so that NaN is a mismatch
            return f"packed and plain hidden states differ by {self.difference:.1e} (tolerance {tolerance:.0e})"
        return ""

    def _difference(self, groups: Groups, shortest: float, plain: Callable[[tuple[int, ...]], Tensor]) -> float:
        """The largest relative difference of the hidden states at the ends. (Rewards are 0 if the head is.)"""
        largest = 0.0
        packs = [pack(group) for group in groups]
        for batch, (hidden, _) in self._packed_passes(packs, DEFAULT_MAX_TOKENS, shortest):
            sequences = [sequence for index in batch for sequence in groups[index]]
            for found, sequence in zip(hidden, sequences, strict=True):
                expected = plain(tuple(sequence))
                distance = (found - expected).float().norm() / expected.float().norm()
                largest = max(largest, distance.nan_to_num(nan=torch.inf).item())
        return largest


def rotary_switch(text: Any) -> float:
    """The length beyond which rotary frequencies depend on the longest sequence of a pass ("longrope", "dynamic").

    A longer sequence needs a pass of its own, packed or not.
    """
    parameters: Mapping[str, Any] = getattr(text, "rope_parameters", None) or {}
    switching = [  # by layer type, or the same for all
        kind.get("original_max_position_embeddings") or text.max_position_embeddings
        for kind in [parameters, *parameters.values()]
        if isinstance(kind, Mapping) and kind.get("rope_type") in ("longrope", "dynamic")
    ]
    return min(switching, default=math.inf)


def trial_groups(vocabulary: int, pad_token_id: int | None) -> list[list[list[int]]]:
    """Five groups: growing prefixes with an end of turn each and the two sides of a pair, which share a prefix; a pair
    and a single sequence, which share another; and many branches, the last of them further from their prefix than a
    window that is not in the mask (GPT-Neo's, 256).
    """
    generator = torch.Generator().manual_seed(
        0
    )  # a separate one, so that the random state of training does not change
    # Some models treat padding within a sequence differently.
    usable = torch.tensor([token for token in range(vocabulary) if token != pad_token_id])
    ids = usable[torch.randint(len(usable), (400,), generator=generator)].tolist()
    turn, side, end = ids[:48], ids[48:64], ids[64:67]
    first = [[turn[:size] + end for size in (16, 24, 32, 48)], [turn[:16] + side + end, turn[:20] + end]]
    second = [[side[:9] + end, side[:12] + end], [side + end + turn[:8]]]
    return [*first, *second, [ids[360:] + ids[start : start + 40] for start in range(67, 347, 40)]]
