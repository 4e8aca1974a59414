"""The stages that only presets on the dial have: prompts, policies, solutions and labels that are known exactly."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engines.base import prompt_seed
from ..errors import InputError
from ..labels.step_labels import CORRECT, VALUE, labels_until, step_labels
from ..runs.dataset import finish_dataset, write_shards
from ..runs.declaration import Stage, input_path, nearest, parameter
from ..runs.folder import read_rows, write_shard
from ..runs.manifest import files_hash
from ..runs.provenance import Origin
from ..schema import SCHEMA_VERSION, Candidate, Message, Prompt, StepLabels, generated_by, plain_reward
from ..scoring.steps import split
from . import toy_domain
from .known_policy import KnownPolicy, first_wrong_position, stated

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


@dataclass(frozen=True, kw_only=True)
class ToySolutions(Stage, kind="toy-solutions"):
    """Solutions, with their rewards, of a policy whose mistakes are known (see `openprm.presets.known_policy`)."""

    prompts: str = input_path("Folder of riddles.")
    n: int = parameter("Solutions of each riddle.")
    confuse: float = parameter("How often a flip is taken for a mirror, and back.", 0.6)
    slip: float = parameter("How often a turn ends one position off.", 0.05)
    seed: int = parameter("Seed of the solutions.", 0)

    def work(self, folder: Path) -> Mapping[str, Any]:
        policy = KnownPolicy(self.confuse, self.slip)
        rows: Iterator[Any] = read_rows(self.prompts, Prompt)
        digests = write_shards(folder, (row for prompt in rows for row in self._solved(policy, prompt)), Candidate)
        return {**finish_dataset(folder, Candidate, "candidates", digests, {}), "origins": [ORIGIN]}

    def _solved(self, policy: KnownPolicy, prompt: Prompt) -> Iterator[Candidate]:
        dial = toy_domain.read_dial(prompt["question"][0]["content"])
        rng = random.Random(prompt_seed(self.seed, prompt["prompt_id"]))
        for index in range(self.n):
            steps = policy.solve(dial, rng)
            yield Candidate(
                **prompt,
                response="".join(steps),
                sample_index=index,
                generator=generated_by(model="known policy", seed=self.seed),
                finish_reason="stop",
                n_tokens=len(toy_domain.SEPARATOR.join(steps).split()),
                rewards=[plain_reward("golden", float(stated(steps[-1]) == int(dial.reference)))],
                marks=[],
            )


@dataclass(frozen=True, kw_only=True)
class ToyLabels(Stage, kind="toy-labels"):
    """Labels that are known exactly: where the first wrong position is, or each step's value; or samples of it."""

    candidates: str = input_path("Solutions of riddles.")
    by: str = parameter("position: hard labels; value: the chance that the known policy ends right from there.")
    per_prompt: int | None = parameter("Only so many responses to each prompt, the first.", None, above=0)
    confuse: float = parameter("Of the known policy.", 0.6)
    slip: float = parameter("Of the known policy.", 0.05)
    k: int | None = parameter(
        "value: the share of so many solutions from there that end right, instead.", None, above=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by not in ("position", "value"):
            raise InputError(f"labels are not known by {self.by!r}{nearest(self.by, ('position', 'value'))}")
        if self.k is not None and self.by != "value":
            raise InputError(f"k is {self.k}, but the first wrong position is known without solutions; leave it out")

    def work(self, folder: Path) -> Mapping[str, Any]:
        rows: Iterator[Any] = read_rows(self.candidates, Candidate)
        some = (row for row in rows if self.per_prompt is None or row["sample_index"] < self.per_prompt)
        digests = write_shards(folder, (self._labelled(row) for row in some if row["response"]), StepLabels)
        return {**finish_dataset(folder, StepLabels, "labels", digests, {}), "origins": [ORIGIN]}

    def _labelled(self, row: Candidate) -> StepLabels:
        dial, steps = toy_domain.read_dial(row["question"][0]["content"]), split(row["response"], toy_domain.SEPARATOR)
        if self.by == "value":
            policy = KnownPolicy(self.confuse, self.slip)
            done = [steps[: index + 1] for index in range(len(steps))]
            if self.k is None:
                values = [policy.value(dial, some) for some in done]
            else:
                rng = random.Random(f"{row['prompt_id']} {row['sample_index']}")
                values = [policy.sampled_value(dial, some, self.k, rng) for some in done]
            return step_labels(row, steps, values, kind=VALUE, by="known policy")
        error = first_wrong_position(dial, steps)
        labels = labels_until(error, len(steps))
        return step_labels(row, steps, labels, kind=CORRECT, by="position", first_error=error)
