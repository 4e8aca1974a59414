import math

import pytest

from openprm.evaluation.pair_accuracy import NO_ERROR, first_error, first_error_f1, pair_accuracy


def test_pair_accuracy():
    assert pair_accuracy([1.0, 0.0, 2.0, 1.0], [0.0, 0.0, 3.0, -1.0]) == 0.5  # the tie is a loss
    with pytest.raises(ValueError, match="not pairs"):
        pair_accuracy([1.0], [])
    with pytest.raises(ValueError, match="no pairs"):
        pair_accuracy([], [])
    with pytest.raises(ValueError, match="NaN"):
        pair_accuracy([math.nan], [0.0])


def test_the_first_step_below_the_threshold():
    assert first_error([0.5, 0.1, -2.0], threshold=0.2) == 1
    assert first_error([0.5, 0.2], threshold=0.2) == NO_ERROR
    assert first_error([], 0.0) == NO_ERROR
    assert first_error([0.1, -0.1], unit="log-odds") == first_error([0.1, -0.1], threshold=0.0) == 1
    assert first_error([0.1, 0.3], threshold=0.2, unit="log-odds") == 0
    with pytest.raises(ValueError, match="NaN"):
        first_error([1.0, math.nan], 0.0)
    with pytest.raises(ValueError, match="unit 'strength' have no zero: choose a threshold on other answers"):
        first_error([0.1, -0.1])


def test_the_f1_of_first_errors():
    # three erroneous answers, of which one is found; two correct ones, both left alone
    found = first_error_f1([1, 0, -1, -1, -1], [1, 2, 0, -1, -1])
    assert found == {"f1": pytest.approx(2 * (1 / 3) / (4 / 3)), "erroneous": pytest.approx(1 / 3), "correct": 1.0}
    assert first_error_f1([0, 0], [1, -1]) == {"f1": 0.0, "erroneous": 0.0, "correct": 0.0}


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([0], [0, -1], "1 predictions and 2 references"),
        ([0], [0], "no answer without"),
        ([-1], [-1], "no answer with a"),
        ([], [], "no answer"),
        ([-2, 0], [-1, 0], "index is from 0"),
    ],
)
def test_what_has_no_f1(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        first_error_f1(predictions, references)
