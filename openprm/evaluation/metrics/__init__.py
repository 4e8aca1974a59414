"""Metrics for `evaluate.load`, each in a folder of its name, and what is published of them.

A metric shares the package's own implementation, and its published copy needs no package: it imports the module that
it uses relatively, and `evaluate` copies such a file along. Published, that is the package's module itself, which
imports nothing of ours; in the folder here, a file of the same name stands for it.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError

METRICS: tuple[str, ...] = ("best_of_n", "coverage", "majority_vote", "pair_accuracy", "first_error_f1")


def metric_files(name: str) -> dict[str, Path]:
    """The code to publish of a metric: path in its repository to file.

    `evaluate.load` wants the repository (a Space) to have the metric's own name. Raises InputError where there is no
    metric of this name.
    """
    if name not in METRICS:
        raise InputError(f"there is no metric {name!r}: choose from {', '.join(METRICS)}")
    here = Path(__file__).parent
    code = sorted((here / name).glob("[!_]*.py"))
    return {file.name: file if file.stem == name else here.parent / file.name for file in code}
