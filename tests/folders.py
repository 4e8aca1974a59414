"""Folders as stages write them, and what tests ask of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from openprm.runs.dataset import finish_dataset
from openprm.runs.folder import REJECTED, write_shard
from openprm.runs.manifest import run_stage
from openprm.schema import Generator, Scored, StepLabels, plain_reward


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def kill(*_: Any, **__: Any) -> None:
    raise Killed


def dataset(
    out: Path,
    record: type,
    rows: Iterable[Any],
    stage: str = "test",
    inputs: Mapping[str, Any] | None = None,
    failed: Iterable[Any] = (),
    **parameters: Any,
) -> Path:
    """A folder as a stage writes it, which lists the prompts of `failed` as such."""

    def work(folder: Path) -> dict[str, Any]:
        digests = write_shard(folder, 0, rows, record)
        title = {Scored: "scores", StepLabels: "labels"}.get(record, f"{record.__name__.lower()}s")
        lines = [{"key": f"prompt {row['prompt_id']!r}", "reason": "too long", "remedy": "shorten"} for row in failed]
        if lines:
            (folder / REJECTED).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return finish_dataset(folder, record, title, digests, {})

    run_stage(out, stage, parameters, inputs or {}, work)
    return out


def candidate(prompt: str, index: int, response: str, golden: float | None = None, **columns: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "prompt_id": prompt,
        "source": "test",
        "question": [{"role": "user", "content": f"What is {prompt}?"}],
        "reference": None,
        "response": response,
        "sample_index": index,
        "generator": dict.fromkeys(Generator.__annotations__),
        "finish_reason": None,
        "n_tokens": None,
        "rewards": [] if golden is None else [plain_reward("golden", golden)],
        "marks": [],
        **columns,
    }


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder, but for the times and the card."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "log.jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def nothing_local(folder: Path, place: Path) -> bool:
    """Whether no file tells where it was made."""
    return not [name for name, content in contents(folder).items() if str(place).encode() in content]
