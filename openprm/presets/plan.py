"""What a preset will do, before anything starts: prompts, samples, tokens, rewards and pairs of each stage.

Pure arithmetic on the declarations: nothing is read, downloaded or loaded. What a preset cannot know it states under
`assume`; what neither says is unknown (NaN), and so is everything that follows from it.

    assume:
      prompts: {SOURCE: how many}
      pairs: {SOURCE: how many}            # of a preference dataset
      pairs_per_tree: {SOURCE: how many}
      prompt_tokens: {SOURCE: mean}
      response_tokens: {SOURCE: mean}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runs.declaration import nearest
from .preset import stage_of, stages_of

_ASSUMED = ("prompts", "pairs", "pairs_per_tree", "prompt_tokens", "response_tokens")


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
    """What later stages need to know of one: its prompts and pairs by source, and the responses to a prompt."""

    prompts: Mapping[str, float] = field(default_factory=dict)
    pairs: Mapping[str, float] = field(default_factory=dict)
    n: float = math.nan


def plan_preset(preset: Mapping[str, Any]) -> list[StagePlan]:
    """The plan of each stage, in order. Raises InputError for assumptions that are unknown or not numbers."""
    assumed = _Assumptions(preset.get("assume") or {})
    outputs: dict[str, _Output] = {}
    plans = []
    for name, entry in preset["stages"].items():
        stage = stage_of(preset["stages"], name, Path())
        before = [outputs[earlier] for earlier in stages_of(preset["stages"], name)]
        numbers, outputs[name] = _plan(name, stage, before, assumed)
        plans.append(StagePlan(name, entry["run"], **numbers))
    return plans


class _Assumptions:
    def __init__(self, given: Mapping[str, Any]) -> None:
        for group, values in given.items():
            if group not in _ASSUMED:
                raise InputError(f"assume: {group!r} is not known{nearest(group, _ASSUMED)}")
            for name, value in values.items():
                if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                    raise InputError(f"assume: {group}, {name} is {value!r}, which is not a number above 0")
        self.given = given

    def __call__(self, group: str, name: str) -> float:
        return float(self.given.get(group, {}).get(name, math.nan))

    def length(self, source: str) -> float:
        """Mean tokens of a prompt with its response."""
        return self("prompt_tokens", source) + self("response_tokens", source)


def _plan(name: str, stage: Any, before: list[_Output], assumed: _Assumptions) -> tuple[dict[str, float], _Output]:
    """The numbers of one stage, and what it makes; `before` are the stages that it takes as inputs."""
    given = next((output for output in before if output.prompts), _Output({name: math.nan}))
    total = math.fsum(given.prompts.values())
    reading = math.fsum(count * given.n * assumed.length(source) for source, count in given.prompts.items())
    match stage.kind:
        case "prompts" | "toy-prompts":
            prompts = _prompts(name, stage, given if before else None, assumed)
            return {"prompts": math.fsum(prompts.values())}, _Output(prompts)
        case "sample" | "search":  # a search is planned as sampling as many whole responses as its budget
            n = stage.n if stage.kind == "sample" else stage.budget
            read = math.fsum(count * assumed("prompt_tokens", source) for source, count in given.prompts.items())
            generated = math.fsum(
                count * n * assumed("response_tokens", source) for source, count in given.prompts.items()
            )
            numbers = {
                "prompts": total,
                "samples": total * n,
                "tokens": read,
                "generated": generated,
                "generated_at_most": total * n * stage.max_new_tokens,
            }
            return numbers, _Output(given.prompts, n=n if stage.kind == "sample" else 1)
        case "reward":
            tokens = {"tokens": reading} if stage.by in ("model", "judge") else {}
            return {"rewards": total * given.n, **tokens}, given
        case "score":  # prefixes that steps share are read once
            return {"rewards": math.nan, "tokens": reading}, given
        case "trees":
            return {"prompts": total}, given
        case "pairs":
            pairs = {source: count * assumed("pairs_per_tree", source) for source, count in given.prompts.items()}
            return {"pairs": math.fsum(pairs.values())}, _Output(pairs=pairs)
        case "preferences":
            source = stage.declared or name
            return {"pairs": assumed("pairs", source)}, _Output(pairs={source: assumed("pairs", source)})
        case "train":
            return _train(stage, before, assumed), _Output()
    return {}, _Output()


def _prompts(name: str, stage: Any, given: _Output | None, assumed: _Assumptions) -> Mapping[str, float]:
    if stage.kind == "toy-prompts":
        return {name: stage.n}
    source = stage.declared or stage.source or name
    prompts = given.prompts if given is not None else {source: assumed("prompts", source)}
    total = math.fsum(prompts.values())
    if stage.limit is None or total <= stage.limit:
        return prompts
    return {source: count * stage.limit / total for source, count in prompts.items()}


def _train(stage: Any, before: list[_Output], assumed: _Assumptions) -> dict[str, float]:
    """A side of a process pair is only a prefix of a response: the tokens are an upper estimate."""
    pairs = [(source, count) for output in before for source, count in output.pairs.items()]
    total = math.fsum(count for _, count in pairs)
    seen = stage.max_steps * stage.batch_size if stage.max_steps else total * stage.epochs
    tokens = math.fsum(2 * count * min(assumed.length(source), stage.max_length) for source, count in pairs)
    return {"pairs": seen, "tokens": tokens * seen / total if total else math.nan}
