"""The accuracy of a reward model on preference pairs, for `evaluate.load`.

evaluate reads the import lines: one module per line, and no comment after it.
"""

import datasets
import evaluate

from openprm.evaluation.pair_accuracy import pair_accuracy

_DESCRIPTION = """\
The share of preference pairs whose chosen side has the higher reward. A tie is a loss, as in RewardBench: a model that
gives everything the same reward tells nothing.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of float): the rewards of the chosen sides.
    references (list of float): the rewards of the rejected sides, in the same order.
Returns:
    pair_accuracy (float): the share of pairs that are ranked as they should be, 0 to 1.
Examples:
    >>> import evaluate
    >>> from importlib.resources import files
    >>> metric = evaluate.load(str(files("openprm.evaluation.metrics") / "pair_accuracy"))
    >>> metric.compute(predictions=[1.5, 0.2, 0.7, 3.0], references=[1.0, 0.4, 0.7, -1.0])
    {'pair_accuracy': 0.5}
"""

_CITATION = """\
@article{openprm,
  title = {OpenPRM: Building Open-domain Process-based Reward Models with Preference Trees},
  author = {Anonymous},
  note = {ICLR 2025 submission}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class PairAccuracy(evaluate.Metric):
    def _info(self):
        number = datasets.Value("float64")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": number, "references": number}),
        )

    def _compute(self, predictions, references):
        return {"pair_accuracy": pair_accuracy(predictions, references)}
