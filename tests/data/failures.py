"""Failures among what was read: apart from the rest, and the rows that they name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from openprm.errors import Failure


def apart(items: Iterable[Any]) -> tuple[list[Any], list[Failure]]:
    """What was read, and the failures."""
    items = list(items)
    failures = [item for item in items if isinstance(item, Failure)]
    return [item for item in items if not isinstance(item, Failure)], failures


def failed_rows(failures: Iterable[Failure]) -> list[int]:
    """The numbers of the rows that failed."""
    return [int(re.search(r", row (\d+)", str(failure.key))[1]) for failure in failures]  # type: ignore[index]
