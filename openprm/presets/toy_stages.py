"""The stages that only the preset `tiny` has: its prompts and its policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runs.dataset import finish_dataset
from ..runs.declaration import Stage, parameter
from ..runs.folder import write_shard
from ..runs.manifest import files_hash
from ..runs.provenance import Origin
from ..schema import SCHEMA_VERSION, Message, Prompt
from . import toy_domain

SOURCE = "dial"
#: Made by `openprm.presets.toy_domain`, under this package's own license.
ORIGIN = Origin(name=SOURCE, kind="data", license="Apache-2.0", citation="Riddles made by openprm.presets.toy_domain")


@dataclass(frozen=True, kw_only=True)
class ToyPrompts(Stage, kind="toy-prompts"):
    """Riddles about a dial, with their golden answers (see `openprm.presets.toy_domain`)."""

    n: int = parameter("Number of prompts.")
    split: str = parameter("train or test.")
    seed: int = parameter("Seed of the riddles.", 0)

    def work(self, folder: Path) -> Mapping[str, Any]:
        rows = [
            Prompt(
                schema_version=SCHEMA_VERSION,
                prompt_id=f"{SOURCE}-{self.split}-{index:05d}",
                source=SOURCE,
                question=[Message(role="user", content=dial.question)],
                reference=dial.reference,
            )
            for index, dial in enumerate(toy_domain.dials(self.n, self.seed, self.split))
        ]
        digests = write_shard(folder, 0, rows, Prompt)
        return {**finish_dataset(folder, Prompt, "prompts", digests, {"prompts": self.n}), "origins": [ORIGIN]}


@dataclass(frozen=True, kw_only=True)
class ToyPolicy(Stage, kind="toy-policy"):
    """A small language model that solves the riddles, often wrongly, trained on the spot."""

    seed: int = parameter("Seed of weights and examples.", 0)
    steps: int = parameter("Optimizer steps.", 300)

    def work(self, folder: Path) -> Mapping[str, Any]:
        tokenizer = toy_domain.tokenizer()
        model = toy_domain.train_policy(tokenizer, seed=self.seed, steps=self.steps)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return {"files_hash": files_hash(folder), "counts": {"parameters": parameters}, "origins": [ORIGIN]}
