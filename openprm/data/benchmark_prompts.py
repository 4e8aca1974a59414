"""The prompts of benchmarks that the paper samples answers to (its appendix C).

They are worded as its ScienceQA prompts (Table 5), or left as they are. MixEval's are those with options, since the
others are graded by a judge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .paper_datasets import PROMPT_SOURCES, PromptSource, Values, required_text, with_options
from .values import LETTERS, to_text


def instructions_json(instruction_id_list: Sequence[str], kwargs: Sequence[Mapping[str, Any]]) -> str:
    """See `openprm.rewards.instructions_reference`."""
    entries = [
        {"id": name, **{key: value for key, value in sorted(arguments.items()) if value is not None}}
        for name, arguments in zip(instruction_id_list, kwargs, strict=True)
    ]
    return json.dumps(entries, ensure_ascii=False)


def _ifeval(row: Values) -> tuple[str, str]:
    arguments = json.loads(row["kwargs"]) if isinstance(row["kwargs"], str) else row["kwargs"]
    return required_text(row, "prompt"), instructions_json(row["instruction_id_list"], arguments)


def _gpqa(row: Values) -> tuple[str, str]:
    """The options in the order of a hash: the dataset has the right one first."""
    question, *texts = (required_text(row, column).strip() for column in BENCHMARK_PROMPTS["gpqa"].columns)
    options = sorted(texts, key=lambda text: hashlib.blake2b(f"{question}\0{text}".encode()).digest())
    return with_options(question, options), LETTERS[options.index(texts[0])]


def _mixeval(row: Values) -> tuple[str, str]:
    context = to_text(row, "context") or ""
    context = "" if context.strip().lower() in ("none", "null") else context
    (target,) = row["target"]  # the index of an option, from 0
    right = range(len(row["options"])).index(int(target))
    return with_options(required_text(row, "prompt"), row["options"], context), LETTERS[right]


_PROMPTS = {
    "math500": lambda row: (required_text(row, "problem"), required_text(row, "answer")),
    "ifeval": _ifeval,
    "gpqa": _gpqa,
    "mixeval-hard": _mixeval,
}

#: By the name of their benchmark.
BENCHMARK_PROMPTS: dict[str, PromptSource] = {
    name: PromptSource(name=name, prompt=_PROMPTS[name], **fields)
    for name, fields in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8")).items()
}

#: All prompts that `openprm prompts --declared` knows.
DECLARED_PROMPTS = {**PROMPT_SOURCES, **BENCHMARK_PROMPTS}
