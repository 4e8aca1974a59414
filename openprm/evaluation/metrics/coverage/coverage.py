"""The coverage of n candidates (pass@n), for `evaluate.load`.

evaluate reads the import lines: one module per line, and no comment after it.
"""

from statistics import fmean

import datasets
import evaluate

from openprm.decoding.selection import coverage

_DESCRIPTION = """\
The share of prompts with a correct one among n candidates, which no choice among them can exceed: pass@n, by the
unbiased estimator of Chen et al. (2021), which averages over all subsets of n of the candidates.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of lists of float): for each prompt, how correct its candidates are. Above 0 is correct.
    n (int, optional): how many of each prompt's candidates there are to choose from. Default: all.
Returns:
    coverage (float): the mean over prompts, 0 to 1.
Examples:
    >>> import evaluate
    >>> from importlib.resources import files
    >>> metric = evaluate.load(str(files("openprm.evaluation.metrics") / "coverage"))
    >>> correct = [[0, 1, 0, 1], [0, 0, 0, 0]]
    >>> metric.compute(predictions=correct)
    {'coverage': 0.5}
    >>> metric.compute(predictions=correct, n=1)
    {'coverage': 0.25}
"""

_CITATION = """\
@article{openprm,
  title = {OpenPRM: Building Open-domain Process-based Reward Models with Preference Trees},
  author = {Anonymous},
  note = {ICLR 2025 submission}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Coverage(evaluate.Metric):
    def _info(self):
        numbers = datasets.List(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": numbers}),
        )

    def _compute(self, predictions, n=None):
        if not predictions:
            raise ValueError("no prompts to cover")
        return {"coverage": fmean(coverage(correct, n) for correct in predictions)}
