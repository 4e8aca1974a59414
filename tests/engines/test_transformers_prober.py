"""What models say at places of sequences, against one plain forward a place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from openprm.engines.base import Head, Probe
from openprm.engines.transformers_prober import TransformersProber
from openprm.errors import InputError
from tests import tiny_models

CAUSAL = "AutoModelForCausalLM"
TOKENS = "AutoModelForTokenClassification"
ROWS = [
    Probe([5, 6, 7, 8, 9, 10, 11], [1, 4, 6], [[7, 20], [10], [1, 2, 3]]),
    Probe([40, 41], [1], [[3, 4]]),
    Probe([*range(30, 70)], [39, 0], [[90], [91]]),
]


def expected(model: Any, rows: Sequence[Probe]) -> list[list[list[float]]]:
    """One forward for each place, of what is before it alone."""
    found = []
    for row in rows:
        with torch.no_grad():
            logits = [model(input_ids=torch.tensor([row.tokens[: place + 1]])).logits[0, -1] for place in row.places]
        found.append([one.log_softmax(-1)[ids].tolist() for one, ids in zip(logits, row.wanted, strict=True)])
    return found


def near(found: Any, wanted: Any) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        for place, right in zip(one, other, strict=True):
            assert place == pytest.approx(right, rel=1e-5, abs=1e-5)


def checkpoint(folder: Path, kind: str, name: str = "llama", **options: Any) -> tuple[Path, Any]:
    model = tiny_models.model(name, kind=kind, **options)
    model.save_pretrained(folder)
    return folder, model


# gemma2 caps its logits behind the head
@pytest.mark.parametrize("name", ["llama", "qwen2", "mistral-window", "gpt2", "gemma2", "gpt-neo", "qwen3-next"])
def test_next_tokens_are_those_of_one_plain_forward_a_place(tmp_path, name):
    folder, model = checkpoint(tmp_path, CAUSAL, name)
    prober = TransformersProber(folder)
    near(prober.probe(ROWS), expected(model, ROWS))
    assert prober.outputs == tiny_models.VOCABULARY


def test_neither_batches_nor_their_order_change_anything(tmp_path):
    folder, _ = checkpoint(tmp_path, CAUSAL)
    found = TransformersProber(folder).probe(ROWS)
    near(TransformersProber(folder, max_tokens=1).probe(ROWS), found)
    near(TransformersProber(folder).probe(ROWS[::-1])[::-1], found)


def test_logits_are_made_a_few_at_a_time(tmp_path, monkeypatch):
    folder, model = checkpoint(tmp_path, CAUSAL)
    monkeypatch.setattr("openprm.engines.transformers_prober._LOGITS", 2 * tiny_models.VOCABULARY)
    sizes = []
    prober = TransformersProber(folder)
    whole = prober._logits
    monkeypatch.setattr(
        prober, "_logits", lambda hidden, output: (sizes.append(len(hidden)), whole(hidden, output))[1]
    )
    near(prober.probe(ROWS), expected(model, ROWS))
    assert sizes == [1, 2, 2, 1]


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_classes_are_those_of_a_token_classifier(tmp_path, caplog, name):
    folder, model = checkpoint(tmp_path, TOKENS, name, num_labels=2)
    rows = [Probe(row.tokens, row.places, [[1, 0]] * len(row.places)) for row in ROWS]
    prober = TransformersProber(folder, head=Head())
    near(prober.probe(rows), expected(model, rows))
    assert prober.outputs == 2
    assert "UNEXPECTED" not in caplog.text


def with_head(folder: Path, tensors: dict[str, torch.Tensor], file: str | None) -> Any:
    """A checkpoint whose head is no transformers' class: in its own file, or among the weights."""
    _, model = checkpoint(folder, CAUSAL, "qwen2")
    if file is None:
        tensors = {**load_file(folder / "model.safetensors"), **tensors}
    name = folder / (file or "model.safetensors")
    save_file(tensors, name, {"format": "pt"}) if name.suffix == ".safetensors" else torch.save(tensors, name)
    return model.model


@pytest.mark.parametrize("file", [None, "value_head.safetensors", "value_head.bin"])
def test_values_are_those_of_the_head_in_the_named_file(tmp_path, file):
    weight, bias = torch.randn(1, 32), torch.randn(1)
    backbone = with_head(tmp_path, {"v_head.summary.weight": weight, "v_head.summary.bias": bias}, file)
    rows = [Probe(row.tokens, row.places, [[0]] * len(row.places)) for row in ROWS]
    found = TransformersProber(tmp_path, head=Head("v_head", file, classes=False)).probe(rows)
    for row, values in zip(rows, found, strict=True):
        for place, (value,) in zip(row.places, values, strict=True):
            with torch.no_grad():
                state = backbone(input_ids=torch.tensor([row.tokens[: place + 1]])).last_hidden_state[0, -1]
            assert value == pytest.approx((weight @ state + bias).item(), rel=1e-5, abs=1e-5)


def test_a_head_of_two_layers_has_relu_between(tmp_path):
    first, second = torch.nn.Linear(32, 32), torch.nn.Linear(32, 2)
    layers = torch.nn.Sequential(first, torch.nn.ReLU(), second)
    tensors = {f"score.{name}": one.detach() for name, one in layers.state_dict().items()}
    backbone = with_head(tmp_path, tensors, None)
    (((found,),),) = [TransformersProber(tmp_path, head=Head()).probe([Probe([5, 6, 7], [2], [[0, 1]])])]
    with torch.no_grad():
        logits = layers(backbone(input_ids=torch.tensor([[5, 6, 7]])).last_hidden_state[0, -1])
    assert found == pytest.approx(logits.log_softmax(-1).tolist(), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (Head("v_head", "value_head.safetensors"), "should lie in value_head.safetensors, and there is no such file"),
        (Head("v_head"), "no tensor's name begins so"),
        (Head("model.layers.0.self_attn"), "is no linear layer of 16 inputs"),
        (Head("model.layers.0.mlp.down_proj"), "is no linear layer of 32 inputs"),
    ],
)
def test_a_head_that_is_not_there_is_said_so(tmp_path, head, said):
    folder, _ = checkpoint(tmp_path, CAUSAL)
    with pytest.raises(InputError, match=said):
        TransformersProber(folder, head=head)


def test_a_sequence_that_is_too_long_is_the_callers_fault(tmp_path):
    folder, _ = checkpoint(tmp_path, CAUSAL)
    prober = TransformersProber(folder)
    assert prober.max_length == 256
    with pytest.raises(ValueError, match="257 tokens"):
        prober.probe([Probe([1] * 257, [0], [[1]])])
