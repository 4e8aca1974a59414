import sys

import pytest

from openprm.errors import InputError
from openprm.trees.similarity import EDIT_SIMILARITIES, EmbeddingSimilarity, similarity
from openprm.trees.similarity_plot import first_prompts, plot_similarities, step_similarities
from tests.trees.test_tree import candidate

EDITS = [*map(similarity, EDIT_SIMILARITIES)]
RESPONSES = [[["one step", "two"], ["one stop", "two"], ["other"]], [["alone"]]]


def test_only_different_steps_at_one_index_are_compared():
    similarities = step_similarities(RESPONSES, EDITS)
    assert set(similarities) == set(EDIT_SIMILARITIES)
    # "one step", "one stop" and "other" at index 0; at index 1 both are "two"
    expected = [("one step", "one stop"), ("one step", "other"), ("one stop", "other")]
    for name, scorer in EDIT_SIMILARITIES.items():
        assert similarities[name] == pytest.approx([scorer(*pair) for pair in expected])


def test_lines_and_figure(tmp_path):
    rows = [candidate(text, 1.0, index) for index, text in enumerate(["one step.\nx", "one stop.\nx", "other"])]
    first, *_ = plot_similarities(rows, ".\n", tmp_path / "similarity.png", EDITS)
    assert (
        first == "levenshtein: 3 pairs of different steps; >= 0.7: 33.3%, >= 0.8: 33.3%, >= 0.88: 33.3%, >= 0.95: 0.0%"
    )
    assert (tmp_path / "similarity.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="separator"):
        plot_similarities(rows[2:], ".\n", tmp_path / "similarity.png", EDITS)


def test_first_prompts_are_whole_wherever_their_responses_lie():
    rows = [candidate(f"a.\n{i}", 1.0, i, prompt_id=f"p{i % 3}") for i in range(9)]
    first = first_prompts(rows, 2, ".\n")
    assert first == [[["a.\n", str(i)] for i in range(k, 9, 3)] for k in range(2)]


def test_the_cosine_of_embeddings_is_plotted_too(tmp_path):
    vectors = {"one step.": [1, 0], "one stop.": [4, 3], "other.": [0, -2]}
    cosine = EmbeddingSimilarity(lambda texts: [vectors[text] for text in texts])
    rows = [candidate(f"{text}\nx", 1.0, index) for index, text in enumerate(vectors)]
    *_, last = plot_similarities(rows, ".\n", tmp_path / "a.png", [*EDITS, cosine])
    assert last == "embedding: 3 pairs of different steps; >= 0.7: 33.3%, >= 0.8: 33.3%, >= 0.88: 0.0%, >= 0.95: 0.0%"


def test_that_matplotlib_is_missing_is_said_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'openprm\[plots\]'"):
        plot_similarities(iter(lambda: pytest.fail("read"), None), ".\n", tmp_path / "a.png", EDITS)
