import pytest

from openprm.decoding.beam_search import BeamParameters, beam_search
from openprm.decoding.best_of_n import sample_answers

from ..injected import Language, Rewards, questions


@pytest.mark.parametrize("n_replies", [1, 3])
def test_functions_that_do_not_answer_every_request_are_refused(n_replies):
    def generate(requests):
        return (Language()(requests) * 2)[:n_replies]

    def score(prefixes):
        return (Rewards()(prefixes) * 2)[: len(prefixes) + n_replies - 2]

    with pytest.raises(ValueError, match=f"{n_replies} replies to 2 requests"):
        sample_answers(questions("x", "y"), generate, None, 2, "min", [0, 1])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        beam_search(questions("x", "y"), Language(), score, BeamParameters(2, 2), [0, 1])
