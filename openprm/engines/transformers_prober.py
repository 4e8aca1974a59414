"""Read a model at places of token sequences with transformers: next tokens of a language model, classes, values.

prober = TransformersProber("org/model")
prober.probe([Probe(tokens=[1, 5, 7], places=[1, 2], wanted=[[7], [648, 387]])])
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    cached_file,
)
from transformers.utils import logging as transformers_logging

from ..errors import Failure, InputError, first_line
from ..scoring.forward import inference, longest_sequence
from ..scoring.packing import batches
from ..scoring.rewarder import DEFAULT_MAX_TOKENS
from .base import Head, Probe, Report, check_lengths, no_report
from .transformers_loading import load_model

#: From hidden states [N, D], and the output of the backbone that they are of, to logits [N, outputs].
Logits = Callable[[Tensor, Any], Tensor]
#: Logits that are in memory at once, in float32.
_LOGITS = 2**25


class TransformersProber:
    """A `Prober`. `max_tokens` (padding included) bounds one pass: speed and memory only.

    Each sequence is read once, however many places are wanted of it. Only the hidden states at these places become
    logits, some at a time. Raises InputError for a model that lacks weights, and for a head that is not there.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        head: Head | None = None,
        revision: str | None = None,
        dtype: str = "float32",
        trust_remote_code: bool = False,
        max_tokens: int = DEFAULT_MAX_TOKENS,
    ) -> None:
        origin: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        origin["device_map"] = "auto" if torch.cuda.is_available() else None
        kind = AutoModelForCausalLM if head is None else AutoModel
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()  # of a head that a backbone does not know
        try:
            loaded: Any = load_model(kind, model, dtype, **origin)
        finally:
            transformers_logging.set_verbosity(verbosity)
        self._backbone = loaded.base_model
        self._logits, self.outputs = (
            _language_head(loaded) if head is None else _own_head(loaded, model, head, revision)
        )
        self._normalized = head is None or head.classes
        self.max_tokens = max_tokens
        self.max_length = longest_sequence(loaded)
        self.vocabulary: int = loaded.config.get_text_config().vocab_size

    def probe(self, rows: Sequence[Probe], report: Report = no_report) -> list[list[list[float]] | Failure]:
        """See `Prober`."""
        check_lengths([[row.tokens for row in rows]], self.max_length)
        found: list[list[list[float]] | Failure] = [[] for _ in rows]
        with inference(self._backbone):
            for batch in batches([len(row.tokens) for row in rows], self.max_tokens):
                chosen = [rows[index] for index in batch]
                for index, values in zip(batch, self._pass(chosen), strict=True):
                    found[index] = values
                report(len(batch), sum(len(row.tokens) for row in chosen))
        return found

    def close(self) -> None:
        """Frees the model's memory."""
        self._backbone = self._logits = None  # type: ignore[assignment]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _pass(self, rows: Sequence[Probe]) -> list[list[list[float]]]:
        """What is wanted of rows that are read at once."""
        device = self._backbone.device
        tokens = nn.utils.rnn.pad_sequence([torch.tensor(row.tokens) for row in rows], batch_first=True)
        lengths = torch.tensor([len(row.tokens) for row in rows])
        mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
        output = self._backbone(input_ids=tokens.to(device), attention_mask=mask.to(device), use_cache=False)
        places = [(index, place) for index, row in enumerate(rows) for place in row.places]
        wanted = [ids for row in rows for ids in row.wanted]
        hidden = output.last_hidden_state[[index for index, _ in places], [place for _, place in places]]  # [N, D]
        values = iter(self._values(hidden, output, wanted))
        return [[next(values) for _ in row.places] for row in rows]

    def _values(self, hidden: Tensor, output: Any, wanted: Sequence[Sequence[int]]) -> list[list[float]]:
        found: list[list[float]] = []
        size = 1
        while len(found) < len(wanted):
            logits = self._logits(hidden[len(found) : len(found) + size], output).float()  # [n, V]
            if self._normalized:
                logits = logits.log_softmax(-1)
            for row, ids in zip(logits, wanted[len(found) :], strict=False):
                found.append(row[list(ids)].tolist())
            size = max(1, _LOGITS // logits.shape[-1])
        return found


class _Known(nn.Module):
    """Stands in for a backbone whose output is known."""

    output: Any

    def forward(self, *_: Any, **__: Any) -> Any:
        return self.output


def _language_head(model: Any) -> tuple[Logits, int]:
    """What a language model makes of hidden states [N, D], with all that it does behind its head, such as capping."""
    known = _Known()
    shell = copy.copy(model)
    shell._modules = {**model._modules, model.base_model_prefix: known}
    shell.__dict__.pop("forward", None)  # a model spread over devices has one that is bound to it

    def logits(hidden: Tensor, output: Any) -> Tensor:
        known.output = type(output)(**{**output, "last_hidden_state": hidden[None]})
        found: Tensor = shell(inputs_embeds=hidden[None], use_cache=False).logits[0]
        return found

    return logits, model.get_output_embeddings().weight.shape[0]


def _own_head(loaded: Any, model: str | Path, head: Head, revision: str | None) -> tuple[Logits, int]:
    """The head of a checkpoint. Raises InputError where it is not there, or is none of linear layers."""
    tensors = _tensors(model, head, revision)
    layers: list[nn.Module] = []
    width = loaded.config.get_text_config().hidden_size
    for name in sorted({name.rpartition(".")[0] for name in tensors}, key=lambda name: (len(name), name)):
        weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
        if weight is None or weight.ndim != 2 or weight.shape[1] != width:
            raise InputError(f"{model}: {name} of its head {head.weights!r} is no linear layer of {width} inputs")
        width = len(weight)
        layer = nn.Linear(weight.shape[1], width, bias=bias is not None)
        layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
        layers += [*([nn.ReLU()] if layers else []), layer]
    whole = nn.Sequential(*layers).to(loaded.dtype)

    def outputs(hidden: Tensor, _: Any) -> Tensor:
        found: Tensor = whole.to(hidden.device)(hidden)
        return found

    return outputs, width


def _tensors(model: str | Path, head: Head, revision: str | None) -> dict[str, Tensor]:
    """The tensors of a head, by name, from its file or from those of the model."""
    begin = f"{head.weights}."

    def found(name: str) -> str | None:
        try:
            return cached_file(model, name, revision=revision)
        except OSError:
            return None

    if head.file is not None:
        files = {found(head.file)}
    elif index := found(SAFE_WEIGHTS_INDEX_NAME) or found(WEIGHTS_INDEX_NAME):
        named = json.loads(Path(index).read_text("utf-8"))["weight_map"]
        files = {found(file) for name, file in named.items() if name.startswith(begin)}
    else:
        files = {found(SAFE_WEIGHTS_NAME) or found(WEIGHTS_NAME)}
    where = f"{model}: its head {head.weights!r}"
    if None in files:
        raise InputError(f"{where} should lie in {head.file or 'the model'}, and there is no such file; name another")
    tensors: dict[str, Tensor] = {}
    for file in filter(None, files):
        try:
            if file.endswith(".safetensors"):
                with safe_open(file, "pt") as opened:
                    names = [name for name in list(opened.keys()) if name.startswith(begin)]
                    tensors |= {name: opened.get_tensor(name) for name in names}
            else:
                tensors |= torch.load(file, "cpu", weights_only=True)
        except Exception as error:  # of whatever kind the format's library raises
            raise InputError(f"{where} cannot be read from {file}: {first_line(error)}") from error
    if not (tensors := {name: one for name, one in tensors.items() if name.startswith(begin)}):
        raise InputError(f"{where} is not there: no tensor's name begins so; say in `weights` how they do")
    return tensors
