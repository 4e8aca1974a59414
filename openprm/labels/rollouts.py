"""Which beginnings of a response to complete, to learn where it goes wrong (Monte Carlo labels).

`scan` completes all (Math-Shepherd, Wang et al., 2024; MiPS, Wang et al., 2024; the paper's Table 8). `binary`
searches for the first wrong step (OmegaPRM, Luo et al., 2024) by at most ceil(log2(n)) beginnings of n steps, but
finds the one of `scan` only where values fall monotonically: a wrong step that a later slip mends misleads it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .step_labels import NO_ERROR

MODES = ("scan", "binary")


def next_depths(mode: str, n: int, known: Mapping[int, float | None], threshold: float = 0.0) -> list[int]:
    """The depths (numbers of steps, 1 to n) to be valued next; none where the search has ended.

    known: the value of each depth that was looked at, None where it cannot be known; that of n, the whole response,
    is its own outcome and always known. Right is a value above the threshold.
    """
    if mode == "scan":
        return [depth for depth in range(1, n) if depth not in known]
    low, high = bounds(n, known, threshold)
    if high - low <= 1:
        return []
    middle = (low + high) // 2
    return [middle]


def bounds(n: int, known: Mapping[int, float | None], threshold: float = 0.0) -> tuple[int, int]:
    """The deepest beginning that is right, and the first that is wrong after it (n + 1: none), as far as is known.

    A value that cannot be known is taken for wrong here; `found_error` says nothing where it decides.
    """
    final = known[n]
    if final is not None and final > threshold:
        return n, n + 1
    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        if middle not in known:
            break
        value = known[middle]
        if value is not None and value > threshold:
            low = middle
        else:
            high = middle
    return low, high


def found_error(mode: str, n: int, known: Mapping[int, float | None], threshold: float = 0.0) -> int | None:
    """The index of the first wrong step, `NO_ERROR`, or None where a value that decides it cannot be known."""
    if mode == "binary":
        low, high = bounds(n, known, threshold)
        if high == n + 1:
            return NO_ERROR
        return high - 1 if known.get(high) is not None and (low == 0 or known.get(low) is not None) else None
    for depth in range(1, n + 1):
        value = known.get(depth)
        if value is None:
            return None
        if value <= threshold:
            return depth - 1
    return NO_ERROR
