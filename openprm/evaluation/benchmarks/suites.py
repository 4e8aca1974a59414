"""Which benchmarks are measured together."""

from __future__ import annotations

from ...errors import InputError
from ...runs.declaration import nearest
from .declaration import known_benchmarks

#: By name; "all" is every benchmark that is declared here.
SUITES = {
    "paper": (
        *("rewardbench", "ultrafeedback-test", "evalbiasbench"),  # pairs: Tables 1, 2, 7, Figures 1, 4, 6
        "prm800k",  # single steps: Table 2
        *(
            "mmlu-pro",
            "gsm8k",
            "math500",
            "ifeval",
            "gpqa",
            "mixeval-hard",
            "alpaca-eval",
        ),  # choices: Table 3, Figure 3
    )
}


def suite(name: str) -> tuple[str, ...]:
    """The benchmarks of a suite; raises InputError where there is none of that name."""
    if name == "all":
        return tuple(known_benchmarks())
    if name not in SUITES:
        raise InputError(f"there is no suite {name!r}{nearest(name, [*SUITES, 'all'])}")
    return SUITES[name]
