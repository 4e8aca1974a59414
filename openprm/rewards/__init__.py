"""Outcome rewards of whole responses: by rule, by a reward model, by a judge (paper, section 3.1).

`answers` (exact answers), `mathematics`, `choice`, `instructions`, `model`, `judge`: a module each. Each offers a
`Rewarder` (see `base`); which one a run uses is chosen in `openprm.stages.reward`.
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
