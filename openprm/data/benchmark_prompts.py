"""The prompts of benchmarks that the paper samples its own answers to (its section 4.1 and appendix C).

The paper words its prompts as simple-evals and the benchmarks' own repositories do; here they are worded as its
ScienceQA prompts (Table 5), or left as they are. Commits are those that other public work uses. MixEval is updated,
and no public work says of which commit its prompts are: they are of the newest, and of its two halves those with
options, since the other half is graded by a judge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import Failure
from .paper_datasets import PROMPT_SOURCES, PromptSource, Values, required_text, with_options
from .values import LETTERS, to_text


def instructions_json(instruction_id_list: Sequence[str], kwargs: Sequence[Mapping[str, Any]]) -> str:
    """The reference of a row of IFEval, whose two columns these are; arguments that are None are left out.

    Raises ValueError where they are not of one length.
    """
    entries = [
        {"id": name, **{key: value for key, value in sorted(arguments.items()) if value is not None}}
        for name, arguments in zip(instruction_id_list, kwargs, strict=True)
    ]
    return json.dumps(entries, ensure_ascii=False)


def _ifeval(row: Values) -> tuple[str, str]:
    arguments = json.loads(row["kwargs"]) if isinstance(row["kwargs"], str) else row["kwargs"]
    return required_text(row, "prompt"), instructions_json(row["instruction_id_list"], arguments)


def _math500(row: Values) -> tuple[str, str]:
    return required_text(row, "problem"), required_text(row, "answer")


def _gpqa(row: Values) -> tuple[str, str]:
    """The options in the order of a hash: the dataset has the right one first."""
    question = required_text(row, "Question")
    columns = ["Correct Answer", *(f"Incorrect Answer {i}" for i in (1, 2, 3))]
    texts = [required_text(row, column).strip() for column in columns]
    options = sorted(texts, key=lambda text: hashlib.blake2b(f"{question}\0{text}".encode()).digest())
    return with_options(question, options), LETTERS[options.index(texts[0])]


def _mixeval(row: Values) -> tuple[str, str]:
    options, target = row["options"], row["target"]
    if not isinstance(target, list) or len(target) != 1 or not str(target[0]).isdigit():
        raise Failure(f"'target' is {target!r}", "make it a list of the index of one option, from 0")
    if (right := int(target[0])) >= len(options):
        raise Failure(f"'target' is {target!r} of {len(options)} options", "make it the index of one, from 0")
    context = to_text(row, "context") or ""
    context = "" if context.strip().lower() in ("none", "null") else context
    return with_options(required_text(row, "prompt"), options, context), LETTERS[right]


#: By the name of their benchmark.
BENCHMARK_PROMPTS: dict[str, PromptSource] = {
    source.name: source
    for source in (
        PromptSource(
            name="math500",
            hub="HuggingFaceH4/MATH-500",
            revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
            split="test",
            columns=("problem", "answer"),
            license="MIT",
            homepage="https://github.com/openai/prm800k",
            citation="Lightman et al., 2023. Let's Verify Step by Step. arXiv:2305.20050",
            prompt=_math500,
        ),
        PromptSource(
            name="ifeval",
            hub="google/IFEval",
            revision="966cd89545d6b6acfd7638bc708b98261ca58e84",
            columns=("prompt", "instruction_id_list", "kwargs"),
            license="Apache-2.0",
            homepage="https://github.com/google-research/google-research/tree/master/instruction_following_eval",
            citation="Zhou et al., 2023. Instruction-Following Evaluation for Large Language Models. arXiv:2311.07911",
            prompt=_ifeval,
        ),
        PromptSource(
            name="gpqa",
            hub="Idavidrein/gpqa",
            revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
            configs=("gpqa_diamond",),
            columns=("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
            license="CC-BY-4.0",
            homepage="https://github.com/idavidrein/gpqa",
            citation="Rein et al., 2023. GPQA: A Graduate-Level Google-Proof Q&A Benchmark. arXiv:2311.12022",
            prompt=_gpqa,
        ),
        PromptSource(
            name="mixeval-hard",
            hub="MixEval/MixEval",
            revision="main",
            configs=("MixEval_Hard",),
            split="multiple_choice",
            columns=("prompt", "options", "target"),
            license="Apache-2.0",
            homepage="https://github.com/Psycoy/MixEval",
            citation="Ni et al., 2024. MixEval: Deriving Wisdom of the Crowd from LLM Benchmark Mixtures. "
            "arXiv:2406.06565",
            prompt=_mixeval,
        ),
    )
}

#: All prompts that `openprm prompts --declared` knows.
DECLARED_PROMPTS = {**PROMPT_SOURCES, **BENCHMARK_PROMPTS}
