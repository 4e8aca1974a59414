"""The rows of OpenPRM's datasets, typed, and their schemas.

Rows are plain dictionaries, as `datasets` yields them; the classes below name their columns.
`features(Tree)` derives the `datasets.Features` from the annotations, so that a column is
declared in one place.
"""

from __future__ import annotations

import types
import typing
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from datasets import Features

SCHEMA_VERSION = 1
#: Of pairs, in the order in which a folder of pairs holds them.
LEVELS = ("process", "outcome")


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


class Reward(TypedDict):
    """An outcome reward of a whole response. Several may stand side by side, told apart by name.

    Where a judge was asked several times, `value` is the mean of the judgements that could be read, `std` their
    standard deviation and `n_judgements` their number; else both are None.
    """

    name: str
    value: float
    std: float | None
    n_judgements: int | None


class Generator(TypedDict):
    """What sampled a response; None where it is not known."""

    model: str | None
    revision: str | None
    engine: str | None
    engine_version: str | None
    temperature: float | None
    top_p: float | None
    max_new_tokens: int | None
    stop: list[str] | None
    system_prompt: str | None
    seed: int | None


class Candidate(TypedDict):
    """One sampled response. Never dropped: what is wrong with it is said in `marks`."""

    schema_version: int
    prompt_id: str
    source: str
    question: list[Message]
    reference: str | None
    response: str
    sample_index: int
    generator: Generator
    finish_reason: str | None
    n_tokens: int | None
    rewards: list[Reward]
    marks: list[str]


class Prompt(TypedDict):
    """An instruction to sample responses for, with its golden answer where there is one."""

    schema_version: int
    prompt_id: str
    source: str
    question: list[Message]
    reference: str | None


class Member(TypedDict):
    """A step of a response, by position: `responses[response]["steps"][step]`."""

    response: int
    step: int


class Node(TypedDict):
    """A group of merged steps (paper, section 3.1). Node 0 is the root: the question itself."""

    id: int
    parent: int | None
    depth: int
    text: str
    value: float
    n_leaves: int
    members: list[Member]


class TreeResponse(TypedDict):
    """A response inside a tree: joining `steps` gives it back exactly."""

    sample_index: int
    model: str | None
    steps: list[str]
    reward: float
    rewards: list[Reward]


class BuildParameters(TypedDict):
    """How a tree was made; see `openprm.trees.tree.merge`."""

    separator: str
    similarity: str
    threshold: float
    distinct_numbers: bool


class Tree(TypedDict):
    """The preference tree of one prompt."""

    schema_version: int
    prompt_id: str
    source: str
    question: list[Message]
    reference: str | None
    reward_name: str
    responses: list[TreeResponse]
    nodes: list[Node]
    build: BuildParameters


class Support(TypedDict):
    """Responses behind each side of a pair (1 for two plain responses)."""

    chosen: int
    rejected: int


class Pair(TypedDict):
    """The unified format [Q, C, Pc, Pr] (paper, appendix B.1).

    The chosen text is `context + chosen`. The rejected text is `context + rejected`, or
    `rejected_context + rejected` where each side keeps its own, merely similar, prefix.
    `gap` is the difference of the two values, in the units of the reward; None where it is not known.
    """

    schema_version: int
    prompt_id: str
    source: str
    question: list[Message]
    context: str
    chosen: str
    rejected: str
    rejected_context: str | None
    level: str
    gap: float | None
    depth: int
    support: Support


class Scored(TypedDict):
    """A response scored step by step; see `openprm.scoring.pipeline` for the columns."""

    schema_version: int
    prompt_id: str
    source: str
    sample_index: int
    steps: list[str]
    step_rewards: list[float | None]
    score: float
    aggregation: str
    truncated: bool


class Answer(Candidate):
    """What a search answered to one prompt, and what that cost; a candidate like any other besides.

    `steps` and `step_rewards` are as in `Scored`; both are empty, and `score` is None, where no reward model chose.
    `n_considered`: the complete answers that it chose from. `generated_tokens` and `scored_tokens` count what the
    language model generated and the reward model computed for this prompt in all, `n_tokens` the answer alone.
    `merged`: extensions that were duplicates; `stopped`: answers that early rejection did not let finish.
    """

    steps: list[str]
    step_rewards: list[float | None]
    score: float | None
    aggregation: str | None
    method: str
    budget: int
    n_considered: int
    generated_tokens: int
    scored_tokens: int
    merged: int
    stopped: int


def plain_reward(name: str, value: float) -> Reward:
    """A reward that was given once."""
    return Reward(name=name, value=value, std=None, n_judgements=None)


def generated_by(**known: Any) -> Generator:
    """A `Generator` with what is known of it."""
    return Generator(**{**dict.fromkeys(Generator.__annotations__), **known})  # type: ignore[typeddict-item]


def features(record: type) -> Features:
    """The `datasets.Features` of one of the records above."""
    from datasets import Features

    return Features(_feature(record))


def _feature(annotation: Any) -> Any:
    from datasets import List, Value

    if typing.is_typeddict(annotation):
        return {name: _feature(hint) for name, hint in typing.get_type_hints(annotation).items()}
    if typing.get_origin(annotation) is list:
        return List(_feature(typing.get_args(annotation)[0]))
    if isinstance(annotation, types.UnionType):  # `X | None`: every Arrow column may hold nulls
        return _feature(next(hint for hint in typing.get_args(annotation) if hint is not types.NoneType))
    return Value({str: "string", int: "int64", float: "float64", bool: "bool"}[annotation])
