"""Outcome rewards of whole responses: by rule, reward model, judge or file (paper, section 3.1).

One module per reward, each with a `Rewarder` (see `base`); `registry` makes them by name.
"""

from .exact_answer import DEFAULT_PATTERN, PATTERNS, extract_answer, golden_answer, golden_rule, normalize
from .ifeval import instructions_reference, instructions_rule
from .math_answer import mathematics_rule
from .multiple_choice import choice_rule

__all__ = [
    "DEFAULT_PATTERN",
    "PATTERNS",
    "choice_rule",
    "extract_answer",
    "golden_answer",
    "golden_rule",
    "instructions_reference",
    "instructions_rule",
    "mathematics_rule",
    "normalize",
]
