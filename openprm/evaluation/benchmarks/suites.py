"""Which benchmarks are measured together."""

from __future__ import annotations

from ...errors import InputError
from ...runs.declaration import nearest

SUITES = {"paper": ("llmbar",)}


def suite(name: str) -> tuple[str, ...]:
    """The benchmarks of a suite; raises InputError where there is none of that name."""
    if name not in SUITES:
        raise InputError(f"there is no suite {name!r}{nearest(name, SUITES)}")
    return SUITES[name]
