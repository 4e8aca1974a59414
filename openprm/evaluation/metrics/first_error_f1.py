"""How often the first wrong step of an answer is found (ProcessBench), for `evaluate.load`."""

import evaluate
from datasets import List, Value

from openprm.evaluation.metrics import metric_info
from openprm.evaluation.pair_accuracy import first_error, first_error_f1
from openprm.scoring.units import DEFAULT_UNIT


class FirstErrorF1(evaluate.Metric):
    """ProcessBench's F1 (Zheng et al., 2024): the harmonic mean of two accuracies of finding the first wrong step.

    On answers with a wrong step the first one must be found exactly; on answers without one none may be found.

    Args:
        predictions (list of int, or of lists of float): for each answer, the index of its first wrong step, from 0, or
            -1 where none is wrong; or the rewards of its steps, of which the first below the threshold is wrong.
        references (list of int): for each answer, the index of its first wrong step, or -1.
        threshold (float, optional): what a right step's reward reaches, in the rewards' own unit. Choose it on other
            answers. It may be left out for log-odds, which are even at 0.
        unit (str, optional): of the rewards: "strength" (default), "log-odds" or another of `openprm.scoring.units`.
    Returns:
        f1 (float): the harmonic mean of the other two, 0 to 1.
        erroneous (float): the accuracy on answers with a wrong step.
        correct (float): the accuracy on answers without one.
    Examples:
        >>> import evaluate
        >>> from importlib.resources import files
        >>> metric = evaluate.load(str(files("openprm.evaluation.metrics") / "first_error_f1.py"))
        >>> metric.compute(predictions=[1, 0, -1, -1], references=[1, 2, -1, -1])["erroneous"]
        0.5
        >>> rewards = [[0.9, 0.2, 0.4], [0.1, 0.8], [0.8, 0.7, 0.9], [0.6]]
        >>> results = metric.compute(predictions=rewards, references=[1, 1, -1, -1], threshold=0.5)
        >>> results["erroneous"], results["correct"], round(results["f1"], 3)
        (0.5, 1.0, 0.667)
    """

    def _info(self):
        index, numbers = Value("int64"), List(Value("float64"))
        return metric_info(
            self, {"predictions": index, "references": index}, {"predictions": numbers, "references": index}
        )

    def _compute(self, predictions, references, threshold=None, unit=DEFAULT_UNIT):
        found = [one if isinstance(one, int) else first_error(one, threshold, unit) for one in predictions]
        return first_error_f1(found, references)
