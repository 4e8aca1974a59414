"""The stages that only the preset `tiny` has: its prompts and its policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..runs.dataset import finish_dataset
from ..runs.folder import write_shard
from ..runs.manifest import files_hash, run_stage
from ..runs.provenance import Origin
from ..schema import SCHEMA_VERSION, Message, Prompt
from . import toy_domain as tiny

SOURCE = "dial"
#: Made by `openprm.presets.toy_domain`, under this package's own license.
ORIGIN = Origin(name=SOURCE, kind="data", license="Apache-2.0", citation="Riddles made by openprm.presets.toy_domain")


def make_prompts(out: str | Path, *, n: int, split: str, seed: int = 0) -> dict[str, Any]:
    """Stage: `n` prompts of a split of `openprm.presets.toy_domain`, with their golden answers. Returns the
    manifest."""

    def work(folder: Path) -> dict[str, Any]:
        rows = [
            Prompt(
                schema_version=SCHEMA_VERSION,
                prompt_id=f"{SOURCE}-{split}-{index:05d}",
                source=SOURCE,
                question=[Message(role="user", content=dial.question)],
                reference=dial.reference,
            )
            for index, dial in enumerate(tiny.dials(n, seed, split))
        ]
        write_shard(folder, 0, rows, Prompt)
        return {**finish_dataset(folder, Prompt, "prompts", 1, {"prompts": n}), "origins": [ORIGIN]}

    return run_stage(out, "prompts", {"n": n, "split": split, "seed": seed}, {}, work, replace_finished=True)


def make_policy(out: str | Path, **options: Any) -> dict[str, Any]:
    """Stage: the policy of `openprm.presets.toy_domain`, trained on the spot. `options` are those of
    `tiny.train_policy`."""

    def work(folder: Path) -> dict[str, Any]:
        tokenizer = tiny.tokenizer()
        model = tiny.train_policy(tokenizer, **options)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return {"files_hash": files_hash(folder), "counts": {"parameters": parameters}, "origins": [ORIGIN]}

    return run_stage(out, "policy", options, {}, work, replace_finished=True)
