"""Tiny models that are read in every declared way, and each readout once more as an obviously right loop.

The loops make one sequence and one plain forward for each step, and read the last position of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from tests import tiny_models

QUESTION = "What is the sum of two and three?"
STEPS = ["First, add the numbers.\n", "Then, divide by two.\n\n", "The answer is seven."]
#: None of whose tokens reaches over the end of a step.
APART = ["Add 2, 3.\n", "Half of 8 is four.\n\n", "It is 5."]
CAUSAL = "AutoModelForCausalLM"
VOCABULARY = 400


def tokenizer() -> Any:
    """With a marker of its own, and single tokens for the verdicts."""
    made = tiny_models.tokenizer()
    made.add_tokens(["<m>"], special_tokens=True)
    made.add_tokens([" ки", "Yes", "No"])
    return made


def saved(folder: Path, kind: str = CAUSAL, name: str = "llama", **options: Any) -> tuple[Path, Any, Any]:
    """A checkpoint with its model and tokenizer, which transformers may load otherwise than it was made."""
    made = tiny_models.model(name, kind=kind, vocab_size=VOCABULARY, **options)
    tiny_models.saved(folder, made, tokenizer())
    return folder, made, AutoTokenizer.from_pretrained(folder)


def declared(folder: Path, model: Path | str, readout: str, more: str = "") -> Path:
    file = folder / "declared.yaml"
    file.write_text(f"model: {model}\nreadout: {readout}\nseparator: line\n{more}\n", "utf-8")
    return file


def value_head(folder: Path) -> torch.nn.Linear:
    """A value head in a file of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layer = torch.nn.Linear(32, 1)
    tensors = {"v_head.summary.weight": layer.weight.detach(), "v_head.summary.bias": layer.bias.detach()}
    save_file(tensors, folder / "value_head.safetensors")
    return layer


def ids(words: Any, text: str) -> list[int]:
    return list(words.encode(text, add_special_tokens=False))


def last(model: Any, tokens: Sequence[int]) -> torch.Tensor:
    """The logits at the last token."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([list(tokens)])).logits[0, -1]


def log_odds(logits: torch.Tensor, right: int, wrong: int) -> float:
    probabilities = logits.double().softmax(-1)
    return float(probabilities[right].log() - probabilities[wrong].log())


def marked(words: Any, marker: str, between: str = "") -> list[list[int]]:
    """The tokens up to each marker, of the text as the model was trained on."""
    head = f"<s><|user|>{QUESTION}</s><|assistant|>"
    texts = accumulate(f"{between if i else ''}{step.strip()}{marker}" for i, step in enumerate(STEPS))
    return [ids(words, head + text) for text in texts]


def log_probabilities(model: Any, words: Any) -> list[list[float]]:
    """Of each token of each step, one forward a token."""
    found, before = [], ids(words, f"<s><|user|>{QUESTION}</s><|assistant|>")
    for step in APART:
        found.append([])
        for token in ids(words, step):
            found[-1].append(float(last(model, before).double().log_softmax(-1)[token]))
            before = [*before, token]
    assert ids(words, "".join(APART)) == [token for step in APART for token in ids(words, step)]
    return found
