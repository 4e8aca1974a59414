import pytest

from openprm.errors import InputError
from openprm.trees.similarity import EDIT_SIMILARITIES
from openprm.trees.similarity_plot import first_prompts, plot_similarities, step_similarities
from tests.trees.test_tree import candidate

RESPONSES = [[["one step", "two"], ["one stop", "two"], ["other"]], [["alone"]]]


def test_only_different_steps_at_one_index_are_compared():
    similarities = step_similarities(RESPONSES)
    assert set(similarities) == set(EDIT_SIMILARITIES)
    # "one step", "one stop" and "other" at index 0; at index 1 both are "two"
    expected = [("one step", "one stop"), ("one step", "other"), ("one stop", "other")]
    for name, scorer in EDIT_SIMILARITIES.items():
        assert similarities[name] == pytest.approx([scorer(*pair) for pair in expected])


def test_lines_and_figure(tmp_path):
    rows = [candidate(text, 1.0, index) for index, text in enumerate(["one step.\nx", "one stop.\nx", "other"])]
    first, *_ = plot_similarities(rows, ".\n", tmp_path / "similarity.png")
    assert (
        first == "levenshtein: 3 pairs of different steps; >= 0.7: 33.3%, >= 0.8: 33.3%, >= 0.88: 33.3%, >= 0.95: 0.0%"
    )
    assert (tmp_path / "similarity.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="separator"):
        plot_similarities(rows[2:], ".\n", tmp_path / "similarity.png")


def test_first_prompts_are_whole_wherever_their_responses_lie():
    rows = [candidate(f"a.\n{i}", 1.0, i, prompt_id=f"p{i % 3}") for i in range(9)]
    first = first_prompts(rows, 2, ".\n")
    assert first == [[["a.\n", str(i)] for i in range(k, 9, 3)] for k in range(2)]
