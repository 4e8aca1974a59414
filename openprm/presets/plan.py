"""What a preset will do, before anything starts: prompts, samples, tokens, rewards and pairs of each stage.

Pure arithmetic on the declarations: nothing is read, downloaded or loaded. What a preset cannot know it states under
`assume`; what neither says is unknown (NaN), and so is everything that follows from it.

    assume:
      prompts: {SOURCE: how many}
      pairs: {SOURCE: how many}            # of a preference dataset
      pairs_per_tree: {SOURCE: how many}
      prompt_tokens: {SOURCE: mean}
      response_tokens: {SOURCE: mean}
      steps: {SOURCE: mean of a response}  # for rollouts
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runs.declaration import nearest
from .preset import stage_of, stages_of

_ASSUMED = ("prompts", "pairs", "pairs_per_tree", "prompt_tokens", "response_tokens", "steps")


@dataclass(frozen=True)
class StagePlan:
    """What one stage will do; None: it does no such thing, NaN: unknown.

    tokens: read by a model, in prompts, responses and both sides of pairs. generated: expected number of sampled
    tokens; generated_at_most: if every response is as long as it may be.
    """

    name: str
    kind: str
    prompts: float | None = None
    samples: float | None = None
    tokens: float | None = None
    generated: float | None = None
    generated_at_most: float | None = None
    rewards: float | None = None
    pairs: float | None = None


@dataclass(frozen=True)
class _Output:
    """What later stages need to know of one: by source its prompts, pairs and labelled responses; n to a prompt."""

    prompts: Mapping[str, float] = field(default_factory=dict)
    pairs: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, float] = field(default_factory=dict)
    n: float = math.nan


def plan_preset(preset: Mapping[str, Any]) -> list[StagePlan]:
    """The plan of each stage, in order. Raises InputError for assumptions that are unknown or not numbers."""
    given = preset.get("assume") or {}
    for group, values in given.items():
        if group not in _ASSUMED:
            raise InputError(f"assume: {group!r} is not known{nearest(group, _ASSUMED)}")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise InputError(f"assume: {group}, {name} is {value!r}, which is not a number above 0")

    def assumed(group: str, name: str) -> float:
        return float(given.get(group, {}).get(name, math.nan))

    outputs: dict[str, _Output] = {}
    plans = []
    for name, entry in preset["stages"].items():
        stage = stage_of(preset["stages"], name, Path())
        before = [outputs[earlier] for earlier in stages_of(preset["stages"], name)]
        numbers, outputs[name] = _plan(name, stage, before, assumed)
        plans.append(StagePlan(name, entry["run"], **numbers))
    return plans


def _plan(
    name: str, stage: Any, before: list[_Output], assumed: Callable[[str, str], float]
) -> tuple[dict[str, float], _Output]:
    """The numbers of one stage, and what it makes; `before` are the stages that it takes as inputs."""

    def tokens(source: str) -> float:  # of a prompt with its response
        return assumed("prompt_tokens", source) + assumed("response_tokens", source)

    given = next((output for output in before if output.prompts), _Output({name: math.nan}))
    total = math.fsum(given.prompts.values())
    reading = math.fsum(count * given.n * tokens(source) for source, count in given.prompts.items())
    match stage.kind:
        case "toy-prompts":
            return {"prompts": stage.n}, _Output({name: stage.n})
        case "constraints":
            return {"prompts": stage.n}, _Output({stage.source: stage.n})
        case "prompts":
            source = stage.declared or stage.source or name
            prompts = given.prompts if before else {source: assumed("prompts", source)}
            total = math.fsum(prompts.values())
            if stage.limit is not None and not total <= stage.limit:
                prompts = {source: count * stage.limit / total for source, count in prompts.items()}
            return {"prompts": math.fsum(prompts.values())}, _Output(prompts)
        case "sample" | "search":  # a search: as many whole responses as its budget; branches as if nothing was shared
            n = stage.n if stage.kind == "sample" else stage.budget
            asked = given.prompts.items()
            numbers = {
                "prompts": total,
                "samples": total * n,
                "tokens": math.fsum(count * assumed("prompt_tokens", source) for source, count in asked),
                "generated": math.fsum(count * n * assumed("response_tokens", source) for source, count in asked),
                "generated_at_most": total * n * stage.max_new_tokens,
            }
            return numbers, _Output(given.prompts, n=n if stage.kind == "sample" else 1)
        case "reward":
            read = {"tokens": reading} if stage.by in ("model", "judge") else {}
            return {"rewards": total * given.n, **read}, given
        case "score":  # prefixes that steps share are read once
            return {"rewards": math.nan, "tokens": reading}, given
        case "trees":
            return {"prompts": total}, given
        case "rollouts":  # as if no two beginnings were the same; on average a step leaves half of the response
            n = min(given.n, stage.per_prompt or math.inf)
            labels = {source: count * n for source, count in given.prompts.items()}
            beginnings = {
                source: count * _looked_at(stage.mode, assumed("steps", source)) for source, count in labels.items()
            }
            of_source = [(count * stage.k, assumed("response_tokens", source)) for source, count in beginnings.items()]
            numbers = {
                "samples": math.fsum(count for count, _ in of_source),
                "generated": math.fsum(count * length / 2 for count, length in of_source),
                "generated_at_most": math.fsum(count for count, _ in of_source) * stage.max_new_tokens,
            }
            return numbers, _Output(given.prompts, labels=labels, n=n)
        case "label" | "judge-steps":
            known = next((output.labels for output in before if output.labels), None)
            named = {source: count * given.n for source, count in given.prompts.items()}
            return {}, _Output(given.prompts, labels=named if known is None else known, n=given.n)
        case "pairs" | "label-pairs":
            pairs = {source: count * assumed("pairs_per_tree", source) for source, count in given.prompts.items()}
            return {"pairs": math.fsum(pairs.values())}, _Output(pairs=pairs)
        case "preferences":
            source = stage.declared or name
            return {"pairs": assumed("pairs", source)}, _Output(pairs={source: assumed("pairs", source)})
        case "train":  # a side of a process pair is only a prefix of a response: the tokens are an upper estimate
            taken = [(count, 2.0, source) for output in before for source, count in output.pairs.items()]
            taken += [(count, 1.0, source) for output in before for source, count in output.labels.items()]
            total = math.fsum(count for count, *_ in taken)
            seen = stage.max_steps * stage.batch_size if stage.max_steps else total * stage.epochs
            sizes = [sides * min(tokens(source), stage.max_length) for _, sides, source in taken]
            if len({*sizes}) != 1:  # else the mean is known, however many pairs there are
                sizes = [math.fsum(size * count / total for size, (count, *_) in zip(sizes, taken, strict=True))]
            return {"pairs": seen, "tokens": seen * sizes[0] if taken else math.nan}, _Output()
    return {}, _Output()


def _looked_at(mode: str, steps: float) -> float:
    """How many beginnings of a response of so many steps are completed."""
    return steps if mode == "scan" else math.log2(steps + 1)
