"""Which outcome reward a run uses, by name: see `openprm.rewards`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engines.specs import RewardSpec
from ..errors import InputError
from ..runs.manifest import resolve_model
from . import PATTERNS
from .base import Rewarder

#: The name of rewards by golden answers, whichever way they are compared.
GOLDEN = "golden"

# options of engines, all numbers or switches, that what somebody published may set on this machine
_HARMLESS = {"max_model_len", "enable_prefix_caching", "block_size"}


def make_rewarder(
    by: str,
    *,
    name: str | None = None,
    model: str | None = None,
    engine: str = "transformers",
    servers: Sequence[str] = (),
    engine_options: Mapping[str, Any] | None = None,
    revision: str | None = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    checkpoint: str | None = None,
    rubric: str | None = None,
    judgements: int = 1,
    file: str | None = None,
    column: str = "reward",
) -> tuple[Rewarder, dict[str, str]]:
    """The rewarder, and what it reads, by role, as inputs of a stage.

    by: `math`, `choice`, `answer`, `stated` or `re:PATTERN` (golden answers, each compared in its way);
      `instructions` (the share that a response follows); `model` (a reward model, see `RewardSpec`; behind `servers`
      if there are any); `judge` (a model behind `servers`); `file` (rewards that a file gives by prompt_id and
      sample_index, in `column`).

    Raises InputError for another `by`, and where it needs a model or servers that are not given.
    """
    if by == "math":
        from .math_answer import mathematics_rule

        return mathematics_rule(name or GOLDEN), {}
    if by == "choice":
        from .multiple_choice import choice_rule

        return choice_rule(name or GOLDEN), {}
    if by in PATTERNS or by.startswith("re:"):
        from .exact_answer import golden_rule

        return golden_rule(by, name or GOLDEN), {}
    if by == "instructions":
        from .ifeval import instructions_rule

        return instructions_rule(name or "instructions"), {}
    if by == "file":
        from .from_file import GivenRewards

        if file is None:
            raise InputError("a reward by file needs the file with the rewards: --file")
        return GivenRewards(name or column, file, column), {"rewards": file}
    if by not in ("model", "judge"):
        kinds = ["math", "choice", *PATTERNS, "re:PATTERN", "instructions", "model", "judge", "file"]
        known = ", ".join(dict.fromkeys(kinds))
        raise InputError(f"unknown reward {by!r}; choose one of {known}")
    if model is None:
        raise InputError(f"a reward by {by} needs the model: --model")
    if by == "judge":
        from .llm_judge import Judge

        if not servers:
            raise InputError("a judge needs the servers that it answers from: --server")
        try:
            return Judge(servers, model, rubric=rubric, k=judgements, name=name, **(engine_options or {})), {}
        except TypeError as error:
            raise InputError(f"a judge cannot be made with {dict(engine_options or {})}: {error}") from error
    from .reward_model import ModelRewarder

    spec = RewardSpec(
        model,
        "server" if servers else engine,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        servers=tuple(servers),
        options=engine_options or {},
        checkpoint=checkpoint,
    )
    spec = replace(spec, revision=resolve_model(spec.source, revision))
    return ModelRewarder(spec, name=name), {"model": spec.identity()}


def rewarder_from(description: Mapping[str, Any], name: str, model: str | Path | None = None) -> Rewarder | None:
    """The rewarder that describes itself so (`Rewarder.describe`), for rewards called `name`.

    `model` is the folder of the model, where it was one. None where the rewards cannot be computed again: a judge's,
    those of a file, a model's behind servers or without its folder, whose code would have to be trusted, or with
    options of the engine that a description of others may not set. Raises InputError where an extra is missing,
    KeyError where the description lacks something.
    """
    rule = description.get("rule")
    if rule == "golden answer":
        from .exact_answer import golden_rule

        return golden_rule(description["pattern"], name)
    if rule == "multiple choice":
        from .multiple_choice import choice_rule

        return choice_rule(name)
    if rule == "mathematics":
        from .math_answer import mathematics_rule

        return mathematics_rule(name)
    if rule == "instructions followed":
        from .ifeval import instructions_rule

        return instructions_rule(name)
    if description.get("kind") != "model" or model is None:
        return None
    if description["trust_remote_code"] or description["engine"] == "server":
        return None
    options = description["engine_options"]
    if not all(option in _HARMLESS and isinstance(value, int) for option, value in options.items()):
        return None
    from .reward_model import ModelRewarder

    spec = RewardSpec(str(model), description["engine"], dtype=description["dtype"], options=options)
    return ModelRewarder(spec, name=name)
