"""Values as colors, on the tree page and in the demo: from orange (low) over gray to blue (high).

Told apart with any common color blindness, and by lightness at either end. The number is always written on the
color, in an ink that can be read on it (WCAG 2.2 AA), in light and dark mode. Pure Python, and copied with the demo.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Background and ink of each class, from the lowest values to the highest.
SCALE: Sequence[tuple[str, str]] = (
    ("#8f3900", "#ffffff"),
    ("#d97a30", "#000000"),
    ("#f6c697", "#000000"),
    ("#e8e8e8", "#000000"),
    ("#a9cbe8", "#000000"),
    ("#4f94cd", "#000000"),
    ("#0a4682", "#ffffff"),
)


def color_class(value: float, low: float, high: float) -> int:
    """Which class of `SCALE` a value between `low` and `high` belongs to; the middle one where all are equal."""
    if high <= low:
        return len(SCALE) // 2
    return min(int((value - low) / (high - low) * len(SCALE)), len(SCALE) - 1)


def stylesheet() -> str:
    """One CSS rule a class: `.c0`, `.c1`, ..."""
    rules = (f"{{ background: {background}; color: {ink}; }}" for background, ink in SCALE)
    return "\n".join(f".c{index} {rule}" for index, rule in enumerate(rules))
