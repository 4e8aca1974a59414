"""The rows of OpenPRM's datasets: each column's name, type and meaning.

Rows are plain dictionaries, as `datasets` yields them. `features` derives the `datasets.Features` from the classes
below, `described_columns` the tables in dataset cards.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import TypedDict, is_typeddict  # pydantic cannot check those of `typing` before Python 3.12

if TYPE_CHECKING:
    from datasets import Features

SCHEMA_VERSION = 1
#: Of pairs, by what their sides are, in the order of a folder of pairs: two beginnings of answers, a beginning and a
#: whole answer, two whole answers.
LEVELS = ("process", "mixed", "outcome")
#: A labelled step, beside the pairs that a model is trained on.
POINT = "point"
TRAINED = (*LEVELS, POINT)


class Message(TypedDict):
    """One turn of a conversation."""

    role: Annotated[str, "`system`, `user` or `assistant`"]
    content: Annotated[str, "the text"]


class Reward(TypedDict):
    """An outcome reward of a whole response. A response may have several, distinguished by name.

    `std` and `n_judgements` are None unless a judge was asked several times.
    """

    name: Annotated[str, "what gave the reward"]
    value: Annotated[float, "the reward; the mean if a judge was asked several times"]
    std: Annotated[float | None, "standard deviation of the judgements"]
    n_judgements: Annotated[int | None, "number of judgements that could be read"]


class Generator(TypedDict):
    """What sampled a response; None for what is not known."""

    model: Annotated[str | None, "the model that the response was sampled from"]
    revision: Annotated[str | None, "its commit on the Hub"]
    engine: Annotated[str | None, "the software that ran it"]
    engine_version: Annotated[str | None, "version of that engine"]
    temperature: Annotated[float | None, "sampling temperature"]
    top_p: Annotated[float | None, "share of probability that was sampled from (nucleus sampling)"]
    max_new_tokens: Annotated[int | None, "longest response in tokens"]
    stop: Annotated[list[str] | None, "texts at which a response ends"]
    system_prompt: Annotated[str | None, "system message that was added"]
    seed: Annotated[int | None, "seed of the prompt's samples"]


class Row(TypedDict):
    """The first columns of each row about a prompt."""

    schema_version: Annotated[int, "version of these columns"]
    prompt_id: Annotated[str, "identifies the prompt in all datasets of this owner"]
    source: Annotated[str, "the dataset that the prompt is from"]


class Question(Row):
    """A prompt without its reference."""

    question: Annotated[list[Message], "the conversation so far, as chat messages"]


class Prompt(Question):
    """An instruction to sample responses for."""

    reference: Annotated[str | None, "the golden answer, if there is one"]


class Candidate(Prompt):
    """One sampled response. It is never dropped: `marks` says what is wrong with it."""

    response: Annotated[str, "the whole sampled answer"]
    sample_index: Annotated[int, "which sample of the prompt it is, from zero"]
    generator: Annotated[Generator, "what sampled it; null for what is not known"]
    finish_reason: Annotated[str | None, "why it ended: `stop` or `length`"]
    n_tokens: Annotated[int | None, "its length in tokens of the generator"]
    rewards: Annotated[list[Reward], "outcome rewards of the whole response, side by side"]
    marks: Annotated[list[str], "what is wrong with it, such as `truncated`, `empty`, `unparsable`"]


class BranchedCandidate(Candidate):
    """A response that shares its first steps with others; see `openprm.decoding.branching`."""

    branch: Annotated[list[int], "which way was taken at each branching, from zero; fewer where it ended before"]
    new_tokens: Annotated[int, "tokens generated for it and for no earlier response to its prompt"]


class Member(TypedDict):
    """A step of a response, by position: `responses[response]["steps"][step]`."""

    response: Annotated[int, "index in `responses`"]
    step: Annotated[int, "index in its `steps`"]


class Node(TypedDict):
    """A group of merged steps (paper, section 3.1). Node 0 is the root: the question itself."""

    id: Annotated[int, "number of the node, depth first; the root is zero"]
    parent: Annotated[int | None, "`id` of the node above; null for the root"]
    depth: Annotated[int, "number of steps from the root"]
    text: Annotated[str, "the step that opened the node; empty for the root"]
    value: Annotated[float, "mean reward of the responses through the node"]
    n_leaves: Annotated[int, "number of responses that end at or below it"]
    members: Annotated[list[Member], "the steps that merged into it"]


class TreeResponse(TypedDict):
    """A response in a tree; its joined `steps` are exactly the response."""

    sample_index: Annotated[int, "which sample of the prompt it is, from zero"]
    model: Annotated[str | None, "the model that it was sampled from"]
    steps: Annotated[list[str], "its steps; joined, they are the response, byte for byte"]
    reward: Annotated[float, "the outcome reward that the values are computed from"]
    rewards: Annotated[list[Reward], "all outcome rewards of the response"]


class BuildParameters(TypedDict):
    """How a tree was made; see `openprm.trees.tree.MergeParameters`."""

    separator: Annotated[str, "where steps end"]
    similarity: Annotated[str, "the measure of similarity between two steps"]
    threshold: Annotated[float, "smallest similarity of steps that merge"]
    distinct_numbers: Annotated[bool, "whether steps with different numbers or option letters are kept apart"]
    distinct_answers: Annotated[bool, "whether steps that state different final answers are kept apart"]
    distinct_names: Annotated[bool, "whether steps with different names, or of which one denies, are kept apart"]
    linkage: Annotated[str, "which similar steps merged: `first`, `average` or `complete`"]
    embedder: Annotated[str | None, "the model whose embeddings were compared; null for edit similarities"]
    seed: Annotated[int, "of the hash that orders the responses"]


class Tree(Prompt):
    """The preference tree of one prompt."""

    reward_name: Annotated[str, "the reward that the values are computed from"]
    responses: Annotated[list[TreeResponse], "the sampled responses, each as its steps, in order of a hash"]
    nodes: Annotated[list[Node], "the tree: merged steps with their values"]
    build: Annotated[BuildParameters, "how it was merged"]


class Support(TypedDict):
    """Responses behind each side of a pair (1 for whole responses)."""

    chosen: Annotated[int, "responses behind the chosen side"]
    rejected: Annotated[int, "responses behind the rejected side"]


class Pair(Question):
    """The unified format [Q, C, Pc, Pr] (paper, appendix B.1).

    The chosen text is `context + chosen`. The rejected text is `context + rejected`, or `rejected_context + rejected`
    if each side keeps its own prefix, which is only similar.
    """

    context: Annotated[str, "the answer so far, before the chosen text"]
    chosen: Annotated[str, "the better continuation (of an outcome pair: the whole better answer)"]
    rejected: Annotated[str, "the worse one"]
    rejected_context: Annotated[str | None, "the answer before the rejected text, if it is not `context`; else null"]
    level: Annotated[str, "`process` (two beginnings), `outcome` (two whole answers) or `mixed` (one of each)"]
    gap: Annotated[float | None, "difference of the two values, in units of the reward; null if it is not known"]
    depth: Annotated[int, "number of the step, from one; zero for whole answers"]
    support: Annotated[Support, "number of responses behind each side"]
    weight: Annotated[float, "how much it counts in training, beside 1"]


class StepLabels(Prompt):
    """A response with a label for each step that was looked at; see `openprm.labels`.

    `kind` says what a label is: `correct`, the probability that this step and all before it are right, or `value`, the
    chance of a right end from here. The two are never mixed. `first_error` is None for values.
    """

    sample_index: Annotated[int, "which sample of the prompt it is, from zero"]
    steps: Annotated[list[str], "its steps; joined, they are the response, byte for byte"]
    labels: Annotated[list[float | None], "of each step, from 0 to 1; null where nobody looked"]
    support: Annotated[list[int | None], "on how many judgements or responses each label rests; null: not known"]
    first_error: Annotated[int | None, "index of the first wrong step, from zero; -1: none; null: not known"]
    correction: Annotated[str | None, "a right step in place of the first wrong one; null where none is known"]
    kind: Annotated[str, "what a label is: `correct` or `value`"]
    by: Annotated[str, "what gave the labels"]


class RolloutLabels(StepLabels):
    """Labels by completing what came before each step, and what that cost; see `openprm.labels.valuing`.

    What two responses share counts for the first of them.
    """

    beginnings: Annotated[int, "beginnings that were completed for it and for no earlier response"]
    tokenized_apart: Annotated[int, "those whose tokens are not the beginning of the whole response's"]
    completions: Annotated[int, "completions of them that were used"]
    cut: Annotated[int, "completions that the length limit cut, which are left out"]
    new_tokens: Annotated[int, "tokens generated for them"]


class Scored(Row):
    """A response scored step by step; see `openprm.scoring.pipeline`."""

    sample_index: Annotated[int, "which sample of the prompt it is, from zero"]
    steps: Annotated[list[str], "its steps; joined, they are the response, byte for byte"]
    step_rewards: Annotated[list[float | None], "the reward after each step; null if the step did not fit"]
    score: Annotated[float, "the step rewards, aggregated"]
    aggregation: Annotated[str, "how they were aggregated"]
    truncated: Annotated[bool, "whether the response exceeds the model's length"]
    unit: Annotated[str, "of the rewards: `strength`, `log-odds`, `log-ratio`, `grade` or `value`"]


#: Columns that rows of an older version lack, and what they hold where there is nothing.
ADDED_COLUMNS: dict[type, dict[str, Any]] = {Scored: {"unit": "strength"}, Pair: {"weight": 1.0}}


class BenchmarkReward(TypedDict):
    """What a model gave to a response of a benchmark; see `openprm.evaluation.benchmarks`."""

    schema_version: Annotated[int, "version of these columns"]
    view: Annotated[str, "the probe that changed the response; empty for the benchmark's own"]
    item: Annotated[str, "the item of the benchmark"]
    response: Annotated[int, "which response of the item it is, from zero"]
    steps: Annotated[list[str], "its steps; joined, they are the response, byte for byte; none without rewards"]
    step_rewards: Annotated[list[float | None], "the reward after each step; null if the step did not fit"]
    failure: Annotated[str | None, "why it has no rewards"]


class Answer(Candidate):
    """The answer of a search to one prompt, and its cost. It can be used like any other candidate.

    If no reward model chose, `steps` and `step_rewards` are empty and `score` is None. `n_tokens` counts the answer
    alone.
    """

    steps: Annotated[list[str], "its steps; joined, they are the response, byte for byte"]
    step_rewards: Annotated[list[float | None], "the reward after each step; null if the step did not fit"]
    score: Annotated[float | None, "the step rewards, aggregated"]
    aggregation: Annotated[str | None, "how they were aggregated"]
    method: Annotated[str, "the search method"]
    budget: Annotated[int, "number of answers that the method may sample"]
    n_considered: Annotated[int, "number of complete answers that it chose from"]
    generated_tokens: Annotated[int, "tokens that the language model generated for this prompt in total"]
    scored_tokens: Annotated[int, "tokens that the reward model computed for this prompt in total"]
    merged: Annotated[int, "number of extensions that were duplicates"]
    stopped: Annotated[int, "number of answers that early rejection stopped"]


def plain_reward(name: str, value: float) -> Reward:
    """A single reward, without several judgements behind it."""
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

    kind, is_list, _ = _parts(annotation)  # every Arrow column may hold nulls
    if is_typeddict(kind):
        inner: Any = {name: _feature(hint) for name, hint in typing.get_type_hints(kind).items()}
    else:
        inner = Value({str: "string", int: "int64", float: "float64", bool: "bool"}[kind])
    return List(inner) if is_list else inner


def described_columns(record: type) -> Iterator[tuple[str, str, str]]:
    """Name, type in words and description of each column of a record, in order. Nested names have dots."""
    for name, hint in typing.get_type_hints(record, include_extras=True).items():
        column, description = typing.get_args(hint)
        kind, is_list, nullable = _parts(column)
        words = {str: "text", int: "integer", float: "number", bool: "true or false"}.get(kind, "record")
        words = f"list of {words}s" if is_list else words
        yield name, f"{words} or null" if nullable else words, description
        if is_typeddict(kind):
            yield from ((f"{name}.{below}", *rest) for below, *rest in described_columns(kind))  # type: ignore[misc]


def _parts(annotation: Any) -> tuple[Any, bool, bool]:
    """The scalar or record that a column's type is made of, whether in a list, and whether there may be nulls."""
    if isinstance(annotation, types.UnionType):
        kind, is_list, _ = _parts(next(hint for hint in typing.get_args(annotation) if hint is not types.NoneType))
        return kind, is_list, True
    if typing.get_origin(annotation) is list:
        kind, _, nullable = _parts(typing.get_args(annotation)[0])
        return kind, True, nullable
    return annotation, False, False
