"""The accuracy of a majority vote, plain or weighted, for `evaluate.load`."""

from statistics import fmean

import evaluate
from datasets import List, Value

from openprm.decoding.selection import expected_vote
from openprm.evaluation.metrics import metric_info
from openprm.scoring.units import DEFAULT_UNIT


class MajorityVote(evaluate.Metric):
    """How often the answer that most of a prompt's N candidates give is correct.

    With scores, as of a reward model, the votes are weighted: by exp(score), or where they are log-odds by
    sigmoid(score). Exact means over tied answers.

    Args:
        predictions (list of lists of str): for each prompt, the answers of its candidates, spelled so that equal
            answers are equal strings. An empty one is a candidate without an answer, which has no vote.
        references (list of lists of float): for each prompt, how correct its candidates are: 1 or 0.
        scores (list of lists of float, optional): for each prompt, the scores of its candidates; higher is better.
        unit (str, optional): of the scores: "strength" (default), "log-odds" or another of `openprm.scoring.units`.
    Returns:
        majority_vote (float): the mean correctness of the answer that wins.
        weighted_vote (float): the same of the weighted vote, where there are scores.
        single_sample (float): the mean correctness of a random candidate, the baseline.
    Examples:
        >>> import evaluate
        >>> from importlib.resources import files
        >>> metric = evaluate.load(str(files("openprm.evaluation.metrics") / "majority_vote.py"))
        >>> answers = [["4", "5", "4"], ["7", "", "8"]]
        >>> correct = [[1, 0, 1], [0, 0, 1]]
        >>> metric.compute(predictions=answers, references=correct)  # the second prompt's answers are tied
        {'majority_vote': 0.75, 'single_sample': 0.5}
        >>> scores = [[0.0, 2.0, 0.1], [-1.0, 0.0, 3.0]]
        >>> results = metric.compute(predictions=answers, references=correct, scores=scores)
        >>> results["weighted_vote"]  # 5 outweighs two votes for 4, and 8 the one for 7
        0.5
    """

    def _info(self):
        return metric_info(self, {"predictions": List(Value("string")), "references": List(Value("float64"))})

    def _compute(self, predictions, references, scores=None, unit=DEFAULT_UNIT):
        answers = [[answer or None for answer in given] for given in predictions]
        prompts = list(zip(answers, references, strict=True))
        if not prompts:
            raise ValueError("no prompts to vote for")
        found = {"majority_vote": fmean(expected_vote(answers, correct) for answers, correct in prompts)}
        if scores is not None:
            weighted = [expected_vote(*prompt, own, unit) for prompt, own in zip(prompts, scores, strict=True)]
            found["weighted_vote"] = fmean(weighted)
        return {**found, "single_sample": fmean(fmean(correct) for _, correct in prompts)}
