"""Forward passes of a reward model over packs: plain, packed, or packed after prefixes computed before."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from .packing import Pack, collate, pack
from .scored_answer import positions

#: Kinds of attention that take our mask.
ATTENTION = ("sdpa", "eager")


class Passes:
    """The passes of one sequence-classification model with one label.

    Methods with the argument `model` take this one or a wrapper (DDP, FSDP, DeepSpeed), and call it once.
    """

    def __init__(self, model: Any):
        self.model = model
        # at any level, so that a head wrapped by PEFT is found too
        self._heads = [module for name, module in model.named_modules() if name.rpartition(".")[2] == "score"]
        self._plain_options = (
            {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}
        )

    @property
    def pad_token_id(self) -> int | None:
        """The model's padding token, as it is in the config now."""
        return self.model.config.get_text_config().pad_token_id

    def unfit(self) -> str:
        """Why packed passes cannot even be tried with this model; empty if they can."""
        if len(self._heads) != 1:
            return "it has no single `score` head over its tokens, as reward models that are decoders have"
        attention = self.model.config._attn_implementation
        needed = 'packing needs attn_implementation="sdpa" or "eager"'
        return "" if attention in ATTENTION else f"its attention is {attention!r} ({needed})"

    def plain(self, model: Any, packs: Sequence[Pack]) -> Tensor:
        """The rewards [B], in float32, of packs of one sequence each: the head's logits at their last tokens.

        For a model without a head over its tokens, such as an encoder, the logits of its output.
        """
        output, calls = self._call(model, self._plain_inputs(packs), packs)
        if len(calls) != 1:
            return output.logits[:, 0].float()
        ends = [one.ends[0] for one in packs]
        return calls[0][1][range(len(packs)), ends, 0].float()

    def plain_state(self, sequence: Sequence[int]) -> Tensor:
        """The hidden state [D] that a plain pass reads a sequence's reward from.

        Raises RuntimeError if the reward is not the head's logit at the last token.
        """
        packs = [pack([sequence])]
        output, [(hidden, logits)] = self._call(self.model, self._plain_inputs(packs), packs)
        if not torch.equal(output.logits.float(), logits[:, -1].float()):
            raise RuntimeError("the reward is not the head's logit at the last token")
        return hidden[0, -1]

    def packed(self, model: Any, packs: Sequence[Pack], before: Cache | None = None) -> tuple[Tensor, Tensor]:
        """At the packs' ends, pack after pack: hidden states [E, D], and rewards [E] in float32.

        before: keys and values of the prefixes, if the packs were cut from them (see `cached_prefixes`).
        """
        inputs = self._packed_inputs(packs)
        if before is not None:
            inputs |= {"past_key_values": before, "use_cache": True}
        _, [(hidden, logits)] = self._call(model, inputs, packs)
        rows = [row for row, one in enumerate(packs) for _ in one.ends]
        ends = [end for one in packs for end in one.ends]
        return hidden[rows, ends], logits[rows, ends, 0].float()

    def prefixes(self, tokens: Sequence[Sequence[int]]) -> list[Keys]:
        """For each layer, the keys and values of these prefixes, one per row, padded on the right."""
        cache = DynamicCache()  # without a config: its layers keep everything, and our masks make the windows
        packs = [pack([prefix]) for prefix in tokens]
        inputs = {**self._packed_inputs(packs), "past_key_values": cache, "use_cache": True}
        with self.around(inputs, packs):
            self.model(**inputs)
        return [(keys, values) for keys, values, _ in cache]

    def prepare(self, sequences: Iterable[Sequence[int]]) -> None:
        """Called before the passes over these sequences, for what they have in common."""

    @contextmanager
    def around(self, inputs: dict[str, Any], packs: Sequence[Pack]) -> Iterator[None]:
        """Every call of the (wrapped) model, with the inputs that were made of the packs, is within one of these."""
        yield

    def _plain_inputs(self, packs: Sequence[Pack]) -> dict[str, Any]:
        """One pack without branches per row, padded on the right."""
        length = max(len(one.tokens) for one in packs)
        input_ids = torch.full((len(packs), length), self.pad_token_id or 0)
        attention_mask = torch.zeros_like(input_ids)
        for row, one in enumerate(packs):
            input_ids[row, : len(one.tokens)] = torch.tensor(one.tokens)
            attention_mask[row, : len(one.tokens)] = 1
        device = self.model.device
        inputs = {"input_ids": input_ids.to(device), "attention_mask": attention_mask.to(device)}
        return {**inputs, **self._plain_options}

    def _packed_inputs(self, packs: Sequence[Pack]) -> dict[str, Any]:
        device = self.model.device
        dtype = self.model.dtype
        if torch.is_autocast_enabled(device.type):  # a float32 mask's minimum would be -inf in the attention's dtype
            dtype = torch.get_autocast_dtype(device.type)
        return collate(packs, self.pad_token_id or 0, self.model.config, dtype, device)

    def _call(
        self, model: Any, inputs: dict[str, Any], packs: Sequence[Pack]
    ) -> tuple[Any, list[tuple[Tensor, Tensor]]]:
        """One call of the (wrapped) model: its output, and hidden states [B, L, D] and logits [B, L, 1] of its head.

        By hooks, since calling the backbone would bypass a wrapper. Heads that do not give one logit per token are
        left out.
        """
        calls: list[tuple[Tensor, Tensor]] = []
        with self.around(inputs, packs), ExitStack() as hooks:  # after what `around` computes first, with other inputs
            for head in self._heads:
                handle = head.register_forward_hook(lambda _, args, output: calls.append((args[0], output)))
                hooks.callback(handle.remove)
            output = model(**inputs)
        return output, [call for call in calls if call[1].shape == (*inputs["input_ids"].shape, 1)]


#: A layer's keys and values, each [rows, heads, tokens, size].
Keys = tuple[Tensor, Tensor]


def cached_prefixes(layers: Sequence[Keys], rows: Sequence[int], size: int) -> Cache:
    """The keys and values before the packs of one pass: for each, `size` tokens of the prefix in its row."""
    return Cache(layers=[_PrefixLayer(keys, list(rows), size) for keys in layers])


class _PrefixLayer(DynamicLayer):
    """Gathers a layer's keys and values when that layer asks for them, so that only one layer's are in memory."""

    def __init__(self, before: Keys, rows: list[int], size: int):
        super().__init__()
        self.before, self.rows, self.size = before, rows, size

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Keys:
        keys, values = (whole[self.rows, :, : self.size] for whole in self.before)
        return torch.cat([keys, key_states], -2), torch.cat([values, value_states], -2)

    def get_seq_length(self) -> int:
        return self.size


def longest_sequence(model: Any) -> int:
    """The tokens of a sequence that a loaded model's positions allow; `sys.maxsize` where they set no limit.

    RoBERTa and its kin count positions from the one behind their padding index, and have fewer than their config says.
    """
    limit = positions(model.config)
    tables = {one for one in model.modules() if isinstance(one, torch.nn.Embedding)} - {model.get_input_embeddings()}
    padding = [one.padding_idx for one in tables if one.num_embeddings == limit]
    return limit - max((index + 1 for index in padding if index is not None), default=0)


@contextmanager
def inference(model: Any) -> Iterator[None]:
    """No gradients, evaluation mode, and a padding token (any will do, since it is masked); afterwards as before."""
    modes = [(module, module.training) for module in model.modules()]
    configs = [config for config in (model.config, model.config.get_text_config()) if config.pad_token_id is None]
    model.eval()
    for config in configs:
        config.pad_token_id = 0
    try:
        with torch.no_grad():
            yield
    finally:
        for config in configs:
            config.pad_token_id = None
        for module, training in modes:
            module.training = training
