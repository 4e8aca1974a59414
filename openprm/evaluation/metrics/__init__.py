"""Metrics for `evaluate.load`, one a file: thin wrappers of the package's own functions.

>>> import evaluate
>>> from importlib.resources import files
>>> metrics = files("openprm.evaluation.metrics")
>>> evaluate.load(str(metrics / "coverage.py")).compute(predictions=[[0, 1], [0, 0]])
{'coverage': 0.5}

`evaluate` reads the import lines of such a file: one module a line, and no comment behind it.
"""

from __future__ import annotations

import inspect
from typing import Any

_CITATION = """\
@article{openprm,
  title = {OpenPRM: Building Open-domain Process-based Reward Models with Preference Trees},
  author = {Anonymous},
  note = {ICLR 2025 submission}
}
"""


def metric_info(metric: Any, *features: dict[str, Any]) -> Any:
    """What `evaluate` asks of a metric: its docstring up to `Args:` is the description, the rest documents the inputs.

    `features` are the types of the inputs, several where there is a choice.
    """
    import datasets
    import evaluate

    choices = [datasets.Features(feature) for feature in features]
    description, separator, inputs = inspect.cleandoc(type(metric).__doc__ or "").partition("\n\nArgs:")
    return evaluate.MetricInfo(
        description=description,
        citation=_CITATION,
        inputs_description=separator + inputs,
        features=choices if len(choices) > 1 else choices[0],
    )
