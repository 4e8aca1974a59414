"""The accuracy of a reward model on preference pairs, for `evaluate.load`."""

import evaluate
from datasets import Value

from openprm.evaluation.metrics import metric_info
from openprm.evaluation.pair_accuracy import pair_accuracy


class PairAccuracy(evaluate.Metric):
    """The share of preference pairs whose chosen side has the higher reward. A tie is a loss, as in RewardBench.

    Args:
        predictions (list of float): the rewards of the chosen sides.
        references (list of float): the rewards of the rejected sides, in the same order.
    Returns:
        pair_accuracy (float): the share of pairs that are ranked as they should be, 0 to 1.
    Examples:
        >>> import evaluate
        >>> from importlib.resources import files
        >>> metric = evaluate.load(str(files("openprm.evaluation.metrics") / "pair_accuracy.py"))
        >>> metric.compute(predictions=[1.5, 0.2, 0.7, 3.0], references=[1.0, 0.4, 0.7, -1.0])
        {'pair_accuracy': 0.5}
    """

    def _info(self):
        return metric_info(self, {"predictions": Value("float64"), "references": Value("float64")})

    def _compute(self, predictions, references):
        return {"pair_accuracy": pair_accuracy(predictions, references)}
