"""Whole runs of training on pairs of trees, against TRL's RewardTrainer."""

from __future__ import annotations

import random
import resource
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForSequenceClassification, Trainer
from transformers.trainer_callback import PrinterCallback

from benchmarks.timing import Comparison, compare
from openprm.models.reward_checkpoint import prepare_reward_model
from openprm.presets import toy_domain
from openprm.schema import SCHEMA_VERSION, Candidate, Generator, Message, Pair, Reward
from openprm.training.config import OpenPRMConfig
from openprm.training.trainer import OpenPRMTrainer
from openprm.trees.pairs import PairParameters, tree_pairs
from openprm.trees.tree import MergeParameters, build_tree

PROMPTS, RESPONSES, SENTENCES = 8, 32, 6
BATCH, TOGETHER, STEPS = 32, 8, 2  # TOGETHER: pairs that TRL's trainer computes at once, its default
RATE = 1e-4
TOLERANCE = 1e-3  # of the losses


def pairs() -> list[Pair]:
    """Of trees of 32 responses; each goes on from a random place of an earlier one, as in sampling by branches."""
    rng = random.Random(0)
    words = "The dial is at up down flip mirror answer".split()

    def sentence() -> str:
        return " ".join(rng.choices(words, k=rng.randint(8, 16))) + ".\n"

    found = []
    for prompt in range(PROMPTS):
        question = [Message(role="user", content="".join(sentence() for _ in range(4)))]
        responses: list[list[str]] = []
        for _ in range(RESPONSES):
            kept = rng.choice(responses)[: rng.randrange(SENTENCES)] if responses else []
            responses.append([*kept, *(sentence() for _ in range(SENTENCES - len(kept)))])
        candidates = [
            Candidate(
                schema_version=SCHEMA_VERSION,
                prompt_id=f"p{prompt}",
                source="made",
                question=question,
                reference=None,
                response="".join(response),
                sample_index=index,
                generator=Generator(**dict.fromkeys(Generator.__annotations__)),  # type: ignore[typeddict-item]
                finish_reason=None,
                n_tokens=None,
                rewards=[Reward(name="golden", value=rng.choice([0.0, 1.0]), std=None, n_judgements=None)],
                marks=[],
            )
            for index, response in enumerate(responses)
        ]
        tree = build_tree(candidates, "golden", MergeParameters(separator=".\n"))
        found += tree_pairs(tree, 0.2, PairParameters(outcome="best"))
    return found


def model() -> LlamaForSequenceClassification:
    """Random weights, always the same."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_labels": 1}
    config = LlamaConfig(vocab_size=64, num_attention_heads=4, max_position_embeddings=1024, pad_token_id=0, **sizes)
    return LlamaForSequenceClassification(config)


def options(folder: str) -> dict[str, Any]:
    """What both trainers are given."""
    return {
        "output_dir": folder,
        "learning_rate": RATE,
        "max_steps": STEPS,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "gradient_checkpointing": False,
    }


def ours(folder: str, together: int) -> OpenPRMTrainer:
    tokenizer = toy_domain.tokenizer()
    made = model()
    prepare_reward_model(made, tokenizer)
    config = OpenPRMConfig(**options(folder), batch_size=BATCH, pairs_together=together)
    trainer = OpenPRMTrainer(made, config, pairs(), processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    return trainer


def trl(folder: str, together: int) -> Trainer:
    """TRL's trainer, of the same model, on the same tokens in the same order."""
    from trl import RewardConfig, RewardTrainer

    mine = ours(folder, together)
    rows = [pair for batch in mine.get_train_dataloader() for pair in batch["sequences"].groups]
    data = Dataset.from_dict({"chosen_ids": [row[0] for row in rows], "rejected_ids": [row[1] for row in rows]})
    config = RewardConfig(
        **options(folder),
        bf16=False,
        per_device_train_batch_size=TOGETHER,
        gradient_accumulation_steps=BATCH // TOGETHER,
        train_sampling_strategy="sequential",
        max_length=None,
    )
    made = model()
    prepare_reward_model(made, toy_domain.tokenizer())
    trainer = RewardTrainer(made, config, train_dataset=data, processing_class=toy_domain.tokenizer())
    trainer.remove_callback(PrinterCallback)
    return trainer


@dataclass(frozen=True)
class Run:
    """What one run computed and took."""

    losses: list[float]
    tokens: int  # padding included
    memory: int  # MiB of the process at its peak


def run(make: Callable[[str, int], Trainer], together: int) -> Run:
    """In a process of its own, since a process's peak never falls."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        trainer: Any = make(folder, together)
        computed: list[int] = []
        trainer.model.score.register_forward_hook(lambda _, args, output: computed.append(output.numel()))
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        return Run(losses, sum(computed), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def against_trl() -> Iterator[Comparison | str]:
    for together, order in ((BATCH, "the pairs of a prompt together"), (1, "all pairs shuffled")):
        with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            mine, theirs = (pool.apply(run, (make, together)) for make in (ours, trl))
        apart = max(abs(one - other) for one, other in zip(mine.losses, theirs.losses, strict=True))
        assert apart <= TOLERANCE, f"losses differ by {apart:.1e}"
        yield (
            f"train {order}: {mine.tokens:,} tokens computed, TRL {theirs.tokens:,}; {mine.memory:,} MiB at the peak, "
            f"TRL {theirs.memory:,}; losses differ by {apart:.0e}"
        )
        with tempfile.TemporaryDirectory() as folder:
            fast, slow = (make(folder, together) for make in (ours, trl))
            yield compare(
                f"train {order}",
                "TRL's RewardTrainer",
                fast.train,
                slow.train,
                BATCH * STEPS,
                "pairs/s",
                repetitions=3,
            )
