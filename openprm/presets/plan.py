"""What a preset would do and cost, before anything starts: pure arithmetic on what it declares.

    total = plan(load_preset("paper")).total("gpu_hours")

Nothing is read, downloaded or loaded. What a preset cannot know (how many prompts a source has, how long they are, how
fast a GPU is) it declares under `assume`; what neither says is unknown, here NaN, and so is all that follows from it.

Floating-point operations, for P parameters (attention's own, small below some thousand tokens, are left out):

    sampling   2 P (tokens of the prompts, each read once + tokens generated)
    rewarding  2 P (tokens of the prompt and of the response), for every response
    training   6 P (tokens of both sides of a pair), for every pair and epoch

and GPU-hours = operations / (peak of one GPU x share of it that is reached x 3600 s).

    assume:
      prompts: {SOURCE: how many}
      pairs: {SOURCE: how many}            # of a preference dataset
      pairs_per_tree: {SOURCE: how many}
      prompt_tokens: {SOURCE: mean}
      response_tokens: {SOURCE: mean}
      parameters: {MODEL: how many}
      gpu: {flops: peak of one, per second, count: how many}
      utilisation: {sampling: share of the peak, rewarding: share, training: share}
    compare: {stage: STAGE, samples: how many, hours: in so many, of: whose}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..engines.base import Sampling
from ..errors import InputError

UNKNOWN = math.nan

_ASSUMED = {
    "prompts",
    "pairs",
    "pairs_per_tree",
    "prompt_tokens",
    "response_tokens",
    "parameters",
    "gpu",
    "utilisation",
}
_FORWARD, _TRAINING = 2, 6  # operations for a parameter and token


@dataclass(frozen=True)
class StagePlan:
    """What one stage would do. None: it does no such thing; NaN: nobody knows.

    tokens: read by a model, in prompts and, where it rewards or trains, in responses. generated: the expected number
    of sampled tokens; generated_at_most: where every response is as long as it may be. gpu_hours: of the expected
    numbers; 0 where no model runs.
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
    gpu_hours: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """A run that somebody reports. gpus: how many it takes by this plan's estimate, to be done in as many hours."""

    of: str
    samples: float
    hours: float
    planned_samples: float
    gpus: float


@dataclass(frozen=True)
class Plan:
    """All stages, in order, and what was assumed."""

    stages: tuple[StagePlan, ...]
    assume: Mapping[str, Any]
    comparison: Comparison | None = None

    def total(self, what: str) -> float:
        """The sum of one of the numbers of `StagePlan` over the stages where it is known; NaN where it nowhere is."""
        values = [value for stage in self.stages if (value := getattr(stage, what)) is not None]
        known = [value for value in values if not math.isnan(value)]
        return math.fsum(known) if any(known) or len(known) == len(values) else UNKNOWN

    def unknown(self, what: str) -> list[str]:
        """The stages where it is not known."""
        return [stage.name for stage in self.stages if math.isnan(getattr(stage, what) or 0.0)]


@dataclass(frozen=True)
class _Made:
    """What later stages must know of one: prompts, trees and pairs by source, and the model it is or starts from."""

    prompts: Mapping[str, float] = field(default_factory=dict)
    pairs: Mapping[str, float] = field(default_factory=dict)
    n: float = UNKNOWN
    model: str | None = None


def plan(preset: Mapping[str, Any]) -> Plan:
    """The plan of a preset, as YAML gives it. Raises InputError for assumptions that are unknown or no numbers."""
    assume = preset.get("assume") or {}
    _check(assume)
    made: dict[str, _Made] = {}
    stages = []
    for name, entry in preset["stages"].items():
        planner = _PLANNERS.get(entry["run"], _nothing)
        stage, made[name] = planner(_Context(name, entry, made, assume))
        stages.append(stage)
    compare = preset.get("compare")
    return Plan(tuple(stages), assume, _compared(stages, compare) if compare else None)


def _check(assume: Mapping[str, Any]) -> None:
    strange = [name for name in assume if name not in _ASSUMED]
    if strange:
        raise InputError(f"assume: {strange[0]!r} is not known; it may say {', '.join(sorted(_ASSUMED))}")
    for group, values in assume.items():
        if not isinstance(values, Mapping):
            raise InputError(f"assume: {group} is {values!r}; give a number for each name")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                hint = "; YAML reads 8e9 as text, write 8.0e+9" if isinstance(value, str) else ""
                raise InputError(f"assume: {group}, {name} is {value!r}, which is no number above 0{hint}")


@dataclass(frozen=True)
class _Context:
    """One stage, what was planned before it, and what is assumed."""

    name: str
    entry: Mapping[str, Any]
    made: Mapping[str, _Made]
    assume: Mapping[str, Any]

    def assumed(self, group: str, name: str | None) -> float:
        return float(self.assume.get(group, {}).get(name, UNKNOWN))

    def input(self, key: str) -> _Made:
        """What an earlier stage made; of a path or id nothing is known."""
        return self.made.get(self.entry.get(key, ""), _Made({self.name: UNKNOWN}, {self.name: UNKNOWN}))

    def model(self, key: str) -> str | None:
        """The model that an entry names, or that the stage it names makes."""
        name: str = self.entry.get(key, "")
        return self.made[name].model if name in self.made else name

    def hours(self, work: str, operations: float, tokens: float, model: str | None) -> float:
        flops = self.assumed("gpu", "flops") * self.assumed("utilisation", work)
        return operations * self.assumed("parameters", model) * tokens / (flops * 3600)

    def number(self, name: str, default: float) -> float:
        """A number that the stage declares. Raises InputError where it is none."""
        value = self.entry.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"stage {self.name!r}: {name} is {value!r}, which is no number")
        return float(value)

    def stage(self, **numbers: float | None) -> StagePlan:
        return StagePlan(self.name, self.entry["run"], **numbers)  # type: ignore[arg-type]


def _prompts(context: _Context) -> tuple[StagePlan, _Made]:
    entry = context.entry
    if "prompts" in entry:
        prompts = dict(context.input("prompts").prompts)
    elif "n" in entry:
        prompts = {context.name: context.number("n", UNKNOWN)}
    else:
        source = str(entry.get("source", context.name))
        prompts = {source: context.assumed("prompts", source)}
    total = math.fsum(prompts.values())
    limit = context.number("limit", math.inf)
    if total > limit:
        prompts = {source: count * limit / total for source, count in prompts.items()}
    return context.stage(prompts=math.fsum(prompts.values())), _Made(prompts)


def _candidates(context: _Context) -> tuple[StagePlan, _Made]:
    return _sampled(context, context.number("n", Sampling().n))


def _generate(context: _Context) -> tuple[StagePlan, _Made]:
    """A search is planned as sampling so many whole answers as its budget; rewarding them is not counted."""
    stage, made = _sampled(context, context.number("budget", 16))
    return stage, replace(made, n=1)


def _sampled(context: _Context, n: float) -> tuple[StagePlan, _Made]:
    """`n` responses to each prompt."""
    given, model = context.input("prompts").prompts, context.model("model")
    longest = context.number("max_new_tokens", Sampling().max_new_tokens)
    read = math.fsum(count * context.assumed("prompt_tokens", source) for source, count in given.items())
    generated = math.fsum(count * n * context.assumed("response_tokens", source) for source, count in given.items())
    samples = math.fsum(given.values()) * n
    stage = context.stage(
        prompts=math.fsum(given.values()),
        samples=samples,
        tokens=read,
        generated=generated,
        generated_at_most=samples * longest,
        gpu_hours=context.hours("sampling", _FORWARD, read + generated, model),
    )
    return stage, _Made(given, n=n)


def _reading(context: _Context, given: _Made) -> float:
    """Tokens of all responses, each with its prompt."""
    return math.fsum(count * given.n * _length(context, source) for source, count in given.prompts.items())


def _length(context: _Context, source: str) -> float:
    return context.assumed("prompt_tokens", source) + context.assumed("response_tokens", source)


def _reward(context: _Context) -> tuple[StagePlan, _Made]:
    given = context.input("candidates")
    rewards = math.fsum(given.prompts.values()) * given.n
    by = context.entry.get("by")
    if by == "model":
        tokens = _reading(context, given)
        hours = context.hours("rewarding", _FORWARD, tokens, context.model("model"))
        return context.stage(rewards=rewards, tokens=tokens, gpu_hours=hours), given
    if by == "judge":
        return context.stage(rewards=rewards, tokens=UNKNOWN, gpu_hours=UNKNOWN), given
    return context.stage(rewards=rewards), given


def _score(context: _Context) -> tuple[StagePlan, _Made]:
    """Every step has a reward, but beginnings that steps share are read once (see `openprm.scoring.packing`)."""
    given = context.input("candidates")
    tokens = _reading(context, given)
    hours = context.hours("rewarding", _FORWARD, tokens, context.model("model"))
    return context.stage(rewards=UNKNOWN, tokens=tokens, gpu_hours=hours), given


def _trees(context: _Context) -> tuple[StagePlan, _Made]:
    given = context.input("candidates")
    return context.stage(prompts=math.fsum(given.prompts.values())), given


def _pairs(context: _Context) -> tuple[StagePlan, _Made]:
    trees = context.input("trees").prompts
    pairs = {source: count * context.assumed("pairs_per_tree", source) for source, count in trees.items()}
    return context.stage(pairs=math.fsum(pairs.values())), _Made(pairs=pairs)


def _preferences(context: _Context) -> tuple[StagePlan, _Made]:
    source = str(context.entry.get("source", context.name))
    pairs = {source: context.assumed("pairs", source)}
    return context.stage(pairs=math.fsum(pairs.values())), _Made(pairs=pairs)


def _train(context: _Context) -> tuple[StagePlan, _Made]:
    """A side of a process pair is the beginning of a response: what is expected here is more than what will be."""
    entry, model = context.entry, context.model("base")
    given = [context.made[name].pairs if name in context.made else {name: UNKNOWN} for name in entry["pairs"].values()]
    pairs = math.fsum(count for part in given for count in part.values())
    longest = entry.get("max_length", 2048)
    tokens = math.fsum(
        2 * count * min(_length(context, source), longest)  # in this order NaN stays NaN
        for part in given
        for source, count in part.items()
    )
    seen = pairs * entry.get("num_train_epochs", 1)
    if "max_steps" in entry:
        seen = float(entry["max_steps"] * entry.get("batch_size", 64))
    tokens *= seen / pairs
    hours = context.hours("training", _TRAINING, tokens, model)
    return context.stage(pairs=seen, tokens=tokens, gpu_hours=hours), _Made(model=model)


def _convert(context: _Context) -> tuple[StagePlan, _Made]:
    return context.stage(), _Made(model=context.model("model"))


def _policy(context: _Context) -> tuple[StagePlan, _Made]:
    return context.stage(gpu_hours=UNKNOWN), _Made()


def _nothing(context: _Context) -> tuple[StagePlan, _Made]:
    return context.stage(), _Made()


_PLANNERS: dict[str, Callable[[_Context], tuple[StagePlan, _Made]]] = {
    "prompts": _prompts,
    "candidates": _candidates,
    "generate": _generate,
    "reward": _reward,
    "trees": _trees,
    "pairs": _pairs,
    "preferences": _preferences,
    "convert": _convert,
    "policy": _policy,
    "train": _train,
    "score": _score,
}


def _compared(stages: Iterable[StagePlan], compare: Mapping[str, Any]) -> Comparison:
    stage = next((stage for stage in stages if stage.name == compare["stage"]), None)
    if stage is None:
        raise InputError(f"compare: there is no stage {compare['stage']!r}")
    planned = UNKNOWN if stage.samples is None else stage.samples
    hours = stage.gpu_hours * compare["samples"] / planned
    return Comparison(compare["of"], compare["samples"], compare["hours"], planned, hours / compare["hours"])
