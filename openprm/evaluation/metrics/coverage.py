"""The coverage of n candidates (pass@n), for `evaluate.load`."""

from statistics import fmean

import evaluate
from datasets import List, Value

from openprm.decoding.selection import coverage
from openprm.evaluation.metrics import metric_info


class Coverage(evaluate.Metric):
    """How correct the best of n candidates is, which no choice among them can exceed: the mean over all subsets of n.

    Where candidates are right or wrong it is the share of prompts with a right one, pass@n by the unbiased estimator
    of Chen et al. (2021).

    Args:
        predictions (list of lists of float): for each prompt, how correct its candidates are.
        n (int, optional): how many of each prompt's candidates there are to choose from. Default: all.
    Returns:
        coverage (float): the mean over prompts, 0 to 1.
    Examples:
        >>> import evaluate
        >>> from importlib.resources import files
        >>> metric = evaluate.load(str(files("openprm.evaluation.metrics") / "coverage.py"))
        >>> correct = [[0, 1, 0, 1], [0, 0, 0, 0]]
        >>> metric.compute(predictions=correct)
        {'coverage': 0.5}
        >>> metric.compute(predictions=correct, n=1)
        {'coverage': 0.25}
    """

    def _info(self):
        return metric_info(self, {"predictions": List(Value("float64"))})

    def _compute(self, predictions, n=None):
        if not predictions:
            raise ValueError("no prompts to cover")
        return {"coverage": fmean(coverage(correct, n) for correct in predictions)}
