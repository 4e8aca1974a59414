"""What the columns of the published datasets hold, in words; their types come from `openprm.schema`."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

from openprm.schema import (
    BuildParameters,
    Candidate,
    Generator,
    Member,
    Message,
    Node,
    Pair,
    Reward,
    Support,
    Tree,
    TreeResponse,
)

_ROW = {
    "schema_version": "version of these columns",
    "prompt_id": "identifies the prompt in all datasets of this owner",
    "source": "where the prompt comes from",
    "question": "the conversation so far, as chat messages",
    "reference": "the golden answer, where there is one",
}

DESCRIPTIONS: dict[type, dict[str, str]] = {
    Message: {"role": "`system`, `user` or `assistant`", "content": "its text"},
    Reward: {
        "name": "what gave the reward",
        "value": "the reward; the mean, where a judge was asked several times",
        "std": "standard deviation of the judgements",
        "n_judgements": "how many judgements could be read",
    },
    Generator: {
        "model": "the model that the response was sampled from",
        "revision": "its commit on the Hub",
        "engine": "what ran it",
        "engine_version": "version of that engine",
        "temperature": "sampling temperature",
        "top_p": "share of probability that was sampled from",
        "max_new_tokens": "longest response in tokens",
        "stop": "texts that end a response",
        "system_prompt": "system message that was added",
        "seed": "seed of the prompt's samples",
    },
    Candidate: {
        **_ROW,
        "response": "the sampled answer, whole",
        "sample_index": "which sample of the prompt it is, from zero",
        "generator": "what sampled it; null where it is not known",
        "finish_reason": "why it ended: `stop` or `length`",
        "n_tokens": "its length in tokens of the generator",
        "rewards": "outcome rewards of the whole response, side by side",
        "marks": "what is wrong with it, such as `truncated`, `empty`, `unparsable`",
    },
    TreeResponse: {
        "sample_index": "which sample of the prompt it is, from zero",
        "model": "the model that it was sampled from",
        "steps": "its steps, which joined are the response, byte for byte",
        "reward": "the outcome reward that values are made of",
        "rewards": "all outcome rewards of the response",
    },
    Member: {"response": "index in `responses`", "step": "index in its `steps`"},
    Node: {
        "id": "number of the node, depth first; the root is zero",
        "parent": "`id` of the node above; null for the root",
        "depth": "number of steps from the root",
        "text": "the step that opened the node; empty for the root",
        "value": "mean reward of the responses through the node",
        "n_leaves": "number of responses that end at or below it",
        "members": "the steps that merged into it",
    },
    BuildParameters: {
        "separator": "where steps end",
        "similarity": "how alike two steps are is measured by this",
        "threshold": "least similarity of steps that merge",
        "distinct_numbers": "whether steps with different numbers are kept apart",
    },
    Tree: {
        **_ROW,
        "reward_name": "which reward the values are made of",
        "responses": "the sampled responses, each as its steps",
        "nodes": "the tree: merged steps with their values",
        "build": "how it was merged",
    },
    Support: {"chosen": "responses behind the chosen side", "rejected": "responses behind the rejected side"},
    Pair: {
        **{name: _ROW[name] for name in ("schema_version", "prompt_id", "source", "question")},
        "context": "the answer so far, before the chosen text",
        "chosen": "the better continuation (of an outcome pair: the whole better answer)",
        "rejected": "the worse one",
        "rejected_context": "the answer before the rejected text, where it differs from `context`; else null",
        "level": "`process` (two steps) or `outcome` (two whole answers)",
        "gap": "difference of the two values, in units of the reward; null where it is not known",
        "depth": "number of the step, from one; zero for whole answers",
        "support": "how many responses stand behind each side",
    },
}

_NAMES = {str: "text", int: "integer", float: "number", bool: "true or false"}


def described_columns(record: type) -> Iterator[tuple[str, str, str]]:
    """Name (nested ones with dots), type and description of each column of a record, in order."""
    for name, hint in typing.get_type_hints(record).items():
        inner, kind = _described_type(hint)
        yield name, kind, DESCRIPTIONS[record][name]
        if inner is not None:
            for below, its_kind, description in described_columns(inner):
                yield f"{name}.{below}", its_kind, description


def _described_type(hint: Any) -> tuple[type | None, str]:
    """The record that a type holds, if any, and the type in words."""
    if typing.is_typeddict(hint):
        return hint, "record"
    if typing.get_origin(hint) is list:
        inner, kind = _described_type(typing.get_args(hint)[0])
        return inner, f"list of {'records' if kind == 'record' else f'{kind}s'}"
    if isinstance(hint, types.UnionType):
        inner, kind = _described_type(next(one for one in typing.get_args(hint) if one is not types.NoneType))
        return inner, f"{kind} or null"
    return None, _NAMES[hint]
