"""Best-of-N accuracy, for `evaluate.load`."""

from statistics import fmean

import evaluate
from datasets import List, Value

from openprm.decoding.selection import coverage, expected_best_of_n
from openprm.evaluation.metrics import metric_info


class BestOfN(evaluate.Metric):
    """How often the candidate with the highest score is correct, among N candidates for each prompt.

    Exact means over tied candidates and, where `n` is given, over all subsets of n candidates.

    Args:
        predictions (list of lists of float): for each prompt, the scores of its candidates; higher is better.
        references (list of lists of float): for each prompt, how correct its candidates are, 0 to 1.
        n (int, optional): how many of each prompt's candidates to choose from. Default: all.
    Returns:
        best_of_n (float): the mean correctness of the chosen candidate.
        single_sample (float): the mean correctness of a random candidate, the baseline.
        coverage (float): the mean correctness of the most correct of the n candidates: what no choice can exceed.
    Examples:
        >>> import evaluate
        >>> from importlib.resources import files
        >>> metric = evaluate.load(str(files("openprm.evaluation.metrics") / "best_of_n.py"))
        >>> scores = [[0.1, 0.9, 0.3], [2.0, 1.0, 2.0]]
        >>> correct = [[0, 1, 0], [1, 0, 0]]
        >>> results = metric.compute(predictions=scores, references=correct)
        >>> results["best_of_n"]  # the second prompt's best ones are tied, and one of them is correct
        0.75
        >>> results["coverage"]
        1.0
        >>> metric.compute(predictions=scores, references=correct, n=1)["best_of_n"] == results["single_sample"]
        True
    """

    def _info(self):
        numbers = List(Value("float64"))
        return metric_info(self, {"predictions": numbers, "references": numbers})

    def _compute(self, predictions, references, n=None):
        prompts = list(zip(predictions, references, strict=True))
        if not prompts:
            raise ValueError("no prompts to choose for")
        return {
            "best_of_n": fmean(expected_best_of_n(scores, correct, n) for scores, correct in prompts),
            "single_sample": fmean(fmean(correct) for _, correct in prompts),
            "coverage": fmean(coverage(correct, n) for _, correct in prompts),
        }
