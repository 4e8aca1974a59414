import doctest
import math
from importlib.resources import files
from statistics import fmean

import evaluate
import pytest

from openprm.decoding.selection import expected_vote
from openprm.evaluation.pair_accuracy import first_error, first_error_f1

METRICS = ("best_of_n", "coverage", "majority_vote", "pair_accuracy", "first_error_f1")


def load(name: str) -> evaluate.EvaluationModule:
    """A metric of the package's folder, loaded by its path."""
    return evaluate.load(str(files("openprm.evaluation.metrics") / f"{name}.py"))


def test_metrics_are_the_packages():
    """Beside what the examples show: rewards of -inf, and answers that are missing."""
    scores, correct = [[-math.inf, 2.0, 1.0], [0.5, 0.5]], [[1.0, 1.0, 0.0], [0.0, 1.0]]
    results = load("best_of_n").compute(predictions=scores, references=correct)
    assert results == {"best_of_n": 0.75, "single_sample": pytest.approx(7 / 12), "coverage": 1.0}
    answers = [["1", "", "2"], ["", ""]]
    results = load("majority_vote").compute(predictions=answers, references=correct, scores=scores)
    voting = [[answer or None for answer in given] for given in answers]
    assert results["majority_vote"] == fmean(map(expected_vote, voting, correct))
    assert results["weighted_vote"] == fmean(map(expected_vote, voting, correct, scores))
    of_odds = load("majority_vote").compute(
        predictions=[["a", "b", "b", "b"]], references=[[1, 0, 0, 0]], scores=[[6, 2, 2, 2]], unit="log-odds"
    )
    assert of_odds["weighted_vote"] == 0
    assert "weighted_vote" not in load("majority_vote").compute(predictions=answers, references=correct)
    rewards, references = [[1.0, 0.2], [1.0], [], [0.9, 0.7]], [1, -1, -1, 0]
    expected = first_error_f1([first_error(some, 0.5) for some in rewards], references)
    assert load("first_error_f1").compute(predictions=rewards, references=references, threshold=0.5) == expected
    logits = [[reward - 0.5 for reward in some] for some in rewards]
    assert load("first_error_f1").compute(predictions=logits, references=references, unit="log-odds") == expected


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("best_of_n", {"predictions": [[1.0, math.nan]], "references": [[0, 1]]}),
        ("best_of_n", {"predictions": [[1.0]], "references": [[0, 1]]}),
        ("best_of_n", {"predictions": [[1.0]], "references": [[0]], "n": 2}),
        ("best_of_n", {"predictions": [], "references": []}),
        ("pair_accuracy", {"predictions": [math.nan], "references": [0.0]}),
        ("pair_accuracy", {"predictions": [1.0], "references": []}),
        ("pair_accuracy", {"predictions": [], "references": []}),
        ("coverage", {"predictions": [[0, 1]], "n": 3}),
        ("coverage", {"predictions": []}),
        ("majority_vote", {"predictions": [["1"]], "references": [[0, 1]]}),
        ("majority_vote", {"predictions": [["1"]], "references": [[0]], "scores": []}),
        ("majority_vote", {"predictions": [], "references": []}),
        ("first_error_f1", {"predictions": [0, 1], "references": [0, 0]}),
        ("first_error_f1", {"predictions": [[0.1], [-0.1]], "references": [0, -1]}),
    ],
)
def test_what_cannot_be_measured_is_an_error(name, inputs):
    with pytest.raises(ValueError):  # noqa: PT011 - evaluate's own message or ours
        load(name).compute(**inputs)


@pytest.mark.parametrize("name", METRICS)
def test_examples(name):
    text = load(name).inputs_description
    test = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    assert len(test.examples) >= 4
    assert doctest.DocTestRunner().run(test).failed == 0
