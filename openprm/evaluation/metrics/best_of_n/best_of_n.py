"""Best-of-N accuracy, for `evaluate.load`.

evaluate reads the import lines: one module per line, and no comment after it.
"""

from statistics import fmean

import datasets
import evaluate

from openprm.decoding.selection import coverage, expected_best_of_n

_DESCRIPTION = """\
How often the candidate with the highest score is correct, when a scorer (as a reward model) chooses among N candidates
for each prompt. Tied candidates are averaged over, and so are all subsets of n candidates where `n` is given: nothing
is drawn, and the order of the candidates does not matter.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of lists of float): for each prompt, the scores of its candidates; higher is better.
    references (list of lists of float): for each prompt, how correct its candidates are, in the same order: 1 or 0,
        or a share between.
    n (int, optional): how many of each prompt's candidates to choose from. Default: all.
Returns:
    best_of_n (float): the mean correctness of the chosen candidate.
    single_sample (float): the mean correctness of a candidate drawn at random, the baseline.
    coverage (float): the share of prompts with a correct one among the n candidates: what no choice can exceed.
Examples:
    >>> import evaluate
    >>> from importlib.resources import files
    >>> metric = evaluate.load(str(files("openprm.evaluation.metrics") / "best_of_n"))
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

_CITATION = """\
@article{openprm,
  title = {OpenPRM: Building Open-domain Process-based Reward Models with Preference Trees},
  author = {Anonymous},
  note = {ICLR 2025 submission}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class BestOfN(evaluate.Metric):
    def _info(self):
        numbers = datasets.List(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": numbers, "references": numbers}),
        )

    def _compute(self, predictions, references, n=None):
        prompts = list(zip(predictions, references, strict=True))
        if not prompts:
            raise ValueError("no prompts to choose for")
        return {
            "best_of_n": fmean(expected_best_of_n(scores, correct, n) for scores, correct in prompts),
            "single_sample": fmean(fmean(correct) for _, correct in prompts),
            "coverage": fmean(coverage(correct, n) for _, correct in prompts),
        }
