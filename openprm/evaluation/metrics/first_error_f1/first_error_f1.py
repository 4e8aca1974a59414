"""How often the first wrong step of an answer is found (ProcessBench), for `evaluate.load`.

evaluate reads the import lines: one module per line, and no comment after it.
"""

import datasets
import evaluate

from openprm.evaluation.pair_accuracy import first_error, first_error_f1

_DESCRIPTION = """\
ProcessBench's F1 (Zheng et al., 2024): the harmonic mean of two accuracies of finding the first wrong step, that on
answers with a wrong step, where it must be found exactly, and that on answers without one, where none may be found.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of int, or of lists of float): for each answer, the index of its first wrong step, from 0, or -1
        where none is wrong; or the rewards of its steps, of which the first below the threshold is taken for wrong.
    references (list of int): for each answer, the index of its first wrong step, or -1.
    threshold (float, optional): what a right step's reward reaches, in the rewards' own units. Default: 0. Choose it
        on other answers.
Returns:
    f1 (float): the harmonic mean of the other two, 0 to 1.
    erroneous (float): the accuracy on answers with a wrong step.
    correct (float): the accuracy on answers without one.
Examples:
    >>> import evaluate
    >>> from importlib.resources import files
    >>> metric = evaluate.load(str(files("openprm.evaluation.metrics") / "first_error_f1"))
    >>> metric.compute(predictions=[1, 0, -1, -1], references=[1, 2, -1, -1])["erroneous"]
    0.5
    >>> rewards = [[0.9, 0.2, 0.4], [0.1, 0.8], [0.8, 0.7, 0.9], [0.6]]
    >>> results = metric.compute(predictions=rewards, references=[1, 1, -1, -1], threshold=0.5)
    >>> results["erroneous"], results["correct"], round(results["f1"], 3)
    (0.5, 1.0, 0.667)
"""

_CITATION = """\
@article{openprm,
  title = {OpenPRM: Building Open-domain Process-based Reward Models with Preference Trees},
  author = {Anonymous},
  note = {ICLR 2025 submission}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class FirstErrorF1(evaluate.Metric):
    def _info(self):
        index, numbers = datasets.Value("int64"), datasets.List(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=[
                datasets.Features({"predictions": index, "references": index}),
                datasets.Features({"predictions": numbers, "references": index}),
            ],
        )

    def _compute(self, predictions, references, threshold=0.0):
        found = [
            prediction if isinstance(prediction, int) else first_error(prediction, threshold)
            for prediction in predictions
        ]
        return dict(first_error_f1(found, references))
