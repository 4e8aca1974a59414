"""A preset that says only what differs from another. Pure.

like: math-shepherd
settings: {k: 32}
stages:
  labels: {harden: null}      # a parameter that is changed, or, if null, left out
  judged: {run: judge-steps, candidates: samples, ...}      # a stage that is added
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The base with the settings and the stages' parameters that `changes` names.

    A stage that is new comes before the first that takes it, or last.
    """
    stages = {name: {**entry, **changes["stages"].get(name, {})} for name, entry in base["stages"].items()}
    names = [*stages]
    new = {name: entry for name, entry in changes["stages"].items() if name not in stages}
    for name in reversed(new):
        users = (index for index, other in enumerate(names) if name in _named({**stages, **new}[other]))
        names.insert(next(users, len(names)), name)
    settings = {**(base.get("settings") or {}), **(changes.get("settings") or {})}
    return {**base, **changes, "settings": settings, "stages": {name: {**stages, **new}[name] for name in names}}


def _named(value: Any) -> set[str]:
    """All texts in an entry."""
    if isinstance(value, Mapping):
        return set().union(*map(_named, value.values()))
    if isinstance(value, list):
        return set().union(*map(_named, value))
    return {value} if isinstance(value, str) else set()
