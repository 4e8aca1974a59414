import doctest
import math
import sys
from collections.abc import Iterator
from importlib.resources import files
from statistics import fmean

import evaluate
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openprm.decoding.selection import coverage, expected_vote
from openprm.evaluation.accuracy import evaluate_selection
from openprm.evaluation.pair_accuracy import first_error, first_error_f1, pair_accuracy

METRICS = ("best_of_n", "coverage", "majority_vote", "pair_accuracy", "first_error_f1")
REWARDS = st.floats(-10, 10) | st.sampled_from([0.0, 1.0])


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A metric of the package's folder, loaded by its path."""
    cache = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluate.config.HF_MODULES_CACHE", cache / "modules")
        patch.setattr(sys, "path", [*sys.path])
        for name in [name for name in sys.modules if name.partition(".")[0] == "evaluate_modules"]:
            patch.delitem(sys.modules, name)  # of another cache
        yield lambda name: evaluate.load(str(files("openprm.evaluation.metrics") / f"{name}.py"), cache_dir=str(cache))


@st.composite
def prompts(draw: st.DrawFn) -> list[tuple[list[float], list[float]]]:
    n = draw(st.integers(1, 5))
    scores = st.lists(REWARDS | st.just(-math.inf), min_size=n, max_size=n)
    correct = st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n)
    return draw(st.lists(st.tuples(scores, correct), min_size=1, max_size=5))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=prompts())
def test_best_of_n_is_the_packages(load, rows):
    scores, correct = zip(*rows, strict=True)
    results = load("best_of_n").compute(predictions=scores, references=correct)
    candidates = [
        {"responses": [str(i) for i in range(len(c))], "correct": c, "answers": [None] * len(c), "scores": {"it": s}}
        for s, c in rows
    ]
    table = {row["method"]: row["accuracy"] for row in evaluate_selection(candidates, n_resamples=1)}
    assert list(results.values()) == pytest.approx(
        [table[f"best of {len(scores[0])}: it"], table["single sample"], table[f"coverage@{len(scores[0])}"]]
    )


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(REWARDS, REWARDS), min_size=1, max_size=20))
def test_pair_accuracy_is_the_packages(load, pairs):
    chosen, rejected = zip(*pairs, strict=True)
    results = load("pair_accuracy").compute(predictions=chosen, references=rejected)
    assert results == {"pair_accuracy": pytest.approx(pair_accuracy(chosen, rejected))}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=prompts(), data=st.data())
def test_votes_and_coverage_are_the_packages(load, rows, data):
    scores, correct = zip(*rows, strict=True)
    answers = [data.draw(st.lists(st.sampled_from(["1", "2", ""]), min_size=len(c), max_size=len(c))) for c in correct]
    voting = [[answer or None for answer in given] for given in answers]
    results = load("majority_vote").compute(predictions=answers, references=correct, scores=scores)
    assert results == {
        "majority_vote": pytest.approx(fmean(map(expected_vote, voting, correct))),
        "weighted_vote": pytest.approx(fmean(map(expected_vote, voting, correct, scores))),
        "single_sample": pytest.approx(fmean(map(fmean, correct))),
    }
    assert "weighted_vote" not in load("majority_vote").compute(predictions=answers, references=correct)
    assert load("coverage").compute(predictions=correct, n=1) == {
        "coverage": pytest.approx(fmean(coverage(c, 1) for c in correct))
    }


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.lists(REWARDS, min_size=1, max_size=4), st.integers(-1, 3)), max_size=5))
def test_first_error_f1_is_the_packages(load, rows):
    rewards, references = zip(*rows, ([1.0, -1.0], 1), ([1.0], -1), strict=True)
    found = [first_error(some, 0.5) for some in rewards]
    expected = first_error_f1(found, references)
    metric = load("first_error_f1")
    assert metric.compute(predictions=found, references=references) == expected
    assert metric.compute(predictions=rewards, references=references, threshold=0.5) == expected


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
    ],
)
def test_what_cannot_be_measured_is_an_error(load, name, inputs):
    with pytest.raises(ValueError):  # noqa: PT011 - evaluate's own message or ours
        load(name).compute(**inputs)


@pytest.mark.parametrize("name", METRICS)
def test_examples(load, name):
    text = load(name).inputs_description
    test = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    assert len(test.examples) >= 4
    assert doctest.DocTestRunner().run(test).failed == 0
