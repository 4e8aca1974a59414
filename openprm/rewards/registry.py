"""The outcome rewards by name, and back from what a manifest records of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..engines.specs import RewardSpec
from ..errors import InputError
from ..runs.manifest import resolve_model
from .base import Rewarder
from .exact_answer import PATTERNS, golden_rule
from .ifeval import instructions_rule
from .math_answer import mathematics_rule
from .multiple_choice import choice_rule

#: The default name of rewards by golden answers, whichever way they are compared.
GOLDEN = "golden"


class _RuleKind(NamedTuple):
    """description: what the rewarder records as `rule`. name: the default name of its rewards."""

    description: str
    name: str
    make: Callable[[str], Rewarder]


_RULES = {
    "math": _RuleKind("mathematics", GOLDEN, mathematics_rule),
    "choice": _RuleKind("multiple choice", GOLDEN, choice_rule),
    "instructions": _RuleKind("instructions followed", "instructions", instructions_rule),
}


@dataclass(frozen=True, kw_only=True)
class RewardOptions:
    """What rewards that are not by rule take: a reward model's as in `RewardSpec`; a judge's model, servers, rubric
    and number of judgements; a file that gives rewards by prompt_id and sample_index, and the rewards' column.
    """

    model: str | None = None
    engine: str = "transformers"
    servers: Sequence[str] = ()
    engine_options: Mapping[str, Any] | None = None
    revision: str | None = None
    dtype: str = "float32"
    trust_remote_code: bool = False
    checkpoint: str | None = None
    rubric: str | None = None
    judgements: int = 1
    file: str | None = None
    column: str = "reward"


def make_rewarder(by: str, *, name: str | None = None, **options: Any) -> tuple[Rewarder, dict[str, str]]:
    """The rewarder, and what it reads, by role, as inputs of a stage.

    by: `math`, `choice`, `answer`, `stated` or `re:PATTERN` (golden answers, each compared in its own way);
      `instructions` (the share of instructions that a response follows); `model` (a reward model); `judge`; `file`.
    name: of the rewards. options: see `RewardOptions`.

    Raises InputError for another `by`, and where an option that it needs is missing.
    """
    if by in _RULES:
        return _RULES[by].make(name or _RULES[by].name), {}
    if by in PATTERNS or by.startswith("re:"):
        return golden_rule(by, name or GOLDEN), {}
    if by not in _OTHERS:
        known = dict.fromkeys([*_RULES, *PATTERNS, "re:PATTERN", *_OTHERS])
        raise InputError(f"unknown reward {by!r}; choose one of {', '.join(known)}")
    return _OTHERS[by](name, RewardOptions(**options))


def _from_file(name: str | None, options: RewardOptions) -> tuple[Rewarder, dict[str, str]]:
    from .from_file import FileRewarder

    if options.file is None:
        raise InputError("a reward by file needs the file with the rewards: --file")
    return FileRewarder(name or options.column, options.file, options.column), {"rewards": options.file}


def _judge(name: str | None, options: RewardOptions) -> tuple[Rewarder, dict[str, str]]:
    from .llm_judge import Judge

    if options.model is None:
        raise InputError("a reward by judge needs the model: --model")
    if not options.servers:
        raise InputError("a judge needs the servers that it answers from: --server")
    engine_options: dict[str, Any] = dict(options.engine_options or {})
    try:
        return Judge(
            options.servers,
            options.model,
            rubric=options.rubric,
            k=options.judgements,
            name=name,
            **engine_options,
        ), {}
    except TypeError as error:
        raise InputError(f"a judge cannot be made with {engine_options}: {error}") from error


def _reward_model(name: str | None, options: RewardOptions) -> tuple[Rewarder, dict[str, str]]:
    from .reward_model import ModelRewarder

    if options.model is None:
        raise InputError("a reward by model needs the model: --model")
    spec = RewardSpec(
        options.model,
        "server" if options.servers else options.engine,
        dtype=options.dtype,
        trust_remote_code=options.trust_remote_code,
        servers=tuple(options.servers),
        options=options.engine_options or {},
        checkpoint=options.checkpoint,
    )
    spec = replace(spec, revision=resolve_model(spec.source, options.revision))
    return ModelRewarder(spec, name=name), {"model": spec.identity()}


_OTHERS = {"model": _reward_model, "judge": _judge, "file": _from_file}


def rule_from(description: Mapping[str, Any], name: str) -> Rewarder | None:
    """The rewarder by rule with this description (`Rewarder.describe`), for rewards called `name`.

    None where the description is of another kind. Raises InputError where an extra is missing, KeyError where the
    description is incomplete.
    """
    if description.get("rule") == "golden answer":
        return golden_rule(description["pattern"], name)
    return next((rule.make(name) for rule in _RULES.values() if description.get("rule") == rule.description), None)
