"""Only the top layers of a reward model are computed: the states that enter them are kept on disk.

Where the layers below (the trunk) are frozen, the state of a token there depends on nothing but the token and those
before it. So it is computed once for all seeds, steps and variants of training, and for scoring by all their models:

    model, tokenizer = load_reward_model("runs/policy")
    trunk = Trunk(model, top=6)
    trunk.freeze()
    rewarder = with_trunk(SequenceRewarder(model), trunk, "runs/.states")

The model stays whole: where passes run, its lower layers answer with the states that are known.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module, ModuleList

from ..errors import InputError, first_line
from ..runs.progress import Progress
from ..scoring.forward import Passes, inference
from ..scoring.packing import Pack
from ..scoring.rewarder import TOLERANCE, SequenceRewarder, rotary_switch, trial_groups
from .trunk_states import States, lacking, node_keys, tokens, trie, tries

CANNOT = "the top layers of this model cannot be computed alone"

#: Tokens of a trie that is computed in one row: attention over more takes longer than computing a prefix again.
TRIE = 512
#: Tokens of a piece, which is what a killed run computes again.
_PIECE = 16384
#: Keys of a config that say nothing of what the layers compute.
_OTHER = (
    "architectures bos_token_id dtype eos_token_id id2label label2id num_labels openprm pad_token_id problem_type "
    "tie_word_embeddings transformers_version use_cache _name_or_path"
).split()


class Trunk:
    """All of a reward model but its `top` decoder layers, the final norm and the head.

    trained: the names of the parameters above the trunk.
    Raises InputError where the model's layers cannot be found, or there are not more of them.
    """

    def __init__(self, model: Any, top: int):
        layers = _decoder_layers(model)
        if not 0 < top < len(layers):
            raise InputError(f"the top {top} layers cannot be trained alone: the model has {len(layers)}")
        self.model = model
        self.below, self.above = layers[:-top], layers[-top:]
        text = model.config.get_text_config()
        states = torch.zeros(1, 2, text.hidden_size, dtype=model.dtype, device=model.device)
        named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        ids = torch.ones(1, 2, dtype=torch.long, device=model.device)
        try:
            with torch.enable_grad(), answering(self.below, lambda *_, **__: states):
                reward = model(input_ids=ids).logits.sum()
                reached = torch.autograd.grad(reward, list(named.values()), allow_unused=True)
        except Exception as error:  # models fail in many ways
            raise InputError(f"{CANNOT} ({type(error).__name__}: {first_line(error)})") from error
        gradients = dict(zip(named, reached, strict=True))
        of_layers = {id(parameter) for layer in self.above for parameter in layer.parameters()}
        self.trained = {name for name, one in named.items() if gradients[name] is not None or id(one) in of_layers}

    def freeze(self) -> None:
        """No gradients for the trunk, and a note in the checkpoint's config of how many layers are above it."""
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in self.trained)
        self.model.config.openprm["top_layers"] = len(self.above)

    def fingerprint(self) -> str:
        """A hash of what a token's state follows from: weights, their dtype, that of autocast, and the config."""
        text = self.model.config.get_text_config().to_dict()
        config = {name: value for name, value in text.items() if name not in _OTHER}
        found = blake2b(json.dumps([len(self.below), str(self._computed_in()), config], sort_keys=True).encode())
        for name, weights in chain(self.model.named_parameters(), self.model.named_buffers()):
            if name not in self.trained:
                found.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
                found.update(weights.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return found.hexdigest()[:16]

    def _computed_in(self) -> torch.dtype:
        kind = self.model.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.model.dtype


def trained_layers(model: Any) -> int:
    """How many top layers were trained alone. Raises InputError for a model that was trained as a whole."""
    if (top := getattr(model.config, "openprm", {}).get("top_layers")) is None:
        raise InputError(
            f"{model.name_or_path} was not trained by `openprm train --top-layers`, so it shares no states with "
            "others; leave out the option states"
        )
    return int(top)


def with_trunk(rewarder: SequenceRewarder, trunk: Trunk, folder: str | Path, order: str = "") -> SequenceRewarder:
    """The rewarder, with passes through the layers above the trunk only. Make it and use it under the same autocast.

    folder: holds the states of all trunks, each in a folder of its own.
    order: processes that are called differently compute the same states in different orders, so that each finds what
      others have done.
    Raises InputError where this is not exact with the model, which is tried on a random input.
    """
    model = trunk.model
    if rotary_switch(model.config.get_text_config()) < math.inf:
        raise InputError(f"{CANNOT}: its rotary frequencies change with the length of a sequence")

    def through(place: Path) -> SequenceRewarder:
        return rewarder.through(_Above(trunk, rewarder, place, order))

    with TemporaryDirectory() as temporary, inference(model), torch.autocast(model.device.type, enabled=False):
        try:
            difference = _difference(model, through(Path(temporary)))
        except Exception as error:  # models fail in many ways
            raise InputError(f"{CANNOT} ({type(error).__name__}: {first_line(error)})") from error
    if not difference <= TOLERANCE[model.dtype]:  # written so that NaN is a mismatch
        raise InputError(f"{CANNOT}: the states at the head differ by {difference:.1e}")
    return through(Path(folder, trunk.fingerprint()))


def _difference(model: Any, cut: SequenceRewarder) -> float:
    """The largest relative difference of hidden states at the head between whole and cut passes."""
    text = model.config.get_text_config()
    sequences = [one for group in trial_groups(text.vocab_size, text.pad_token_id) for one in group]
    cut.calls.prepare(sequences)
    whole, largest = Passes(model), 0.0
    for sequence in sequences:
        expected = whole.plain_state(sequence)
        distance = (cut.calls.plain_state(sequence) - expected).float().norm() / expected.float().norm()
        largest = max(largest, distance.nan_to_num(nan=torch.inf).item())
    return largest


class _Below(Passes):
    """Passes through the trunk only; `found` gets the keys and states of all tokens."""

    def __init__(self, trunk: Trunk):
        super().__init__(trunk.model)
        self._trunk = trunk
        self.found: list[tuple[np.ndarray, Tensor]] = []

    @contextmanager
    def around(self, inputs: dict[str, Any], packs: Sequence[Pack]) -> Iterator[None]:
        def through(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
            reached.append(hidden_states)
            return hidden_states

        reached: list[Tensor] = []
        with answering(self._trunk.above, through):
            yield
        self.found += [(node_keys(one), row[: len(one.tokens)]) for one, row in zip(packs, reached[0], strict=True)]


class _Above(Passes):
    """Passes through the layers above the trunk, on states that are kept; `prepare` computes those that are not."""

    def __init__(self, trunk: Trunk, rewarder: SequenceRewarder, folder: Path, order: str):
        super().__init__(trunk.model)
        self._trunk, self._order = trunk, order
        self._below = _Below(trunk)
        self._rewarder = rewarder.through(self._below)
        self.states = States(folder, trunk.model.config.get_text_config().hidden_size, trunk.model.dtype)

    def prepare(self, sequences: Iterable[Sequence[int]]) -> None:
        pieces: list[list[list[bytes]]] = [[]]
        size = 0
        for group in tries(sequences, TRIE):
            if found := lacking(group, self.states):
                if size >= _PIECE:
                    pieces.append([])
                    size = 0
                pieces[-1].append(found)
                size += len(trie(found).tokens)
        # processes that need the same states take them in different orders, and find what others have done
        random.Random(self._order).shuffle(pieces)
        with ExitStack() as stack:
            long = len(pieces) > 1 and stack.enter_context(Progress("frozen layers", "parts", len(pieces)))
            for piece in pieces:
                computed = self._compute(piece)
                if long:
                    long.report(1, computed)

    def _compute(self, groups: list[list[bytes]]) -> int:
        """Computes the groups' tokens that have no state by now, and writes a piece; returns the number of tokens."""
        self.states.refresh()
        groups = [found for group in groups if (found := lacking(group, self.states))]
        if not groups:
            return 0
        self._rewarder.rewards([[tokens(row) for row in group] for group in groups])
        keys, states = zip(*self._below.found, strict=True)
        self._below.found = []
        unique, first = np.unique(np.concatenate(keys), return_index=True)
        new = self.states.missing(unique)
        self.states.write(unique[new], torch.cat(states)[torch.from_numpy(first[new])])
        return int(new.sum())

    @contextmanager
    def around(self, inputs: dict[str, Any], packs: Sequence[Pack]) -> Iterator[None]:
        keys = [node_keys(one) for one in packs]
        if self.states.missing(np.concatenate(keys)).any():
            self.prepare(_path(one, end) for one in packs for end in one.ends)
        given = torch.zeros(*inputs["input_ids"].shape, self.states.size, dtype=self.states.dtype)
        for row, some in enumerate(keys):
            given[row, : len(some)] = self.states.read(some)
        given = given.to(self.model.device)
        with answering(self._trunk.below, lambda *_, **__: given):
            yield


def _path(one: Pack, end: int) -> list[int]:
    """The tokens of a sequence of the pack."""
    found: list[int] = []
    while end >= 0:
        found.append(one.tokens[end])
        end = one.parents[end]
    return [*one.before, *reversed(found)]


@contextmanager
def answering(layers: Iterable[Module], answer: Callable[..., Tensor]) -> Iterator[None]:
    """Within, the layers give the answer instead of computing."""
    own = [(layer, vars(layer).get("forward")) for layer in layers]  # accelerate's, where a model is on several GPUs
    for layer, _ in own:
        layer.forward = answer
    try:
        yield
    finally:
        for layer, forward in own:
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward


def _decoder_layers(model: Any) -> list[Module]:
    """The one list of modules in the backbone that has as many as the config has layers."""
    count = model.config.get_text_config().num_hidden_layers
    lists = {
        name: one
        for name, one in model.base_model.named_modules()
        if isinstance(one, ModuleList) and len(one) == count
    }
    outer = [one for name, one in lists.items() if not any(name.startswith(f"{other}.") for other in lists)]
    if len(outer) != 1:
        raise InputError(f"{type(model).__name__} has {len(outer)} lists of {count} layers: its top cannot be told")
    return list(outer[0])
