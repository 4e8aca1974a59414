import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.errors import Failure
from openprm.trees.distinctions import numbers
from openprm.trees.similarity import EDIT_SIMILARITIES, EditSimilarity, EmbeddingSimilarity, similarity


@given(
    item=st.text(alphabet="abc", max_size=20),
    others=st.lists(st.text(alphabet="abc", max_size=20), max_size=6),
    name=st.sampled_from(sorted(EDIT_SIMILARITIES)),
    threshold=st.integers(1, 100).map(lambda hundredths: hundredths / 100),
)
def test_nearest_is_the_first_most_similar(item, others, name, threshold):
    scores = [EDIT_SIMILARITIES[name](item, other) for other in others]
    best = max(scores, default=0.0)
    expected = scores.index(best) if best >= threshold else None
    assert EditSimilarity(name).nearest(item, others, threshold) == expected


@pytest.mark.parametrize(
    ("length", "changed", "threshold"), [(5, 1, 0.8), (5, 2, 0.6), (20, 3, 0.85), (25, 2, 0.92), (50, 1, 0.98)]
)
def test_a_similarity_equal_to_the_threshold_reaches_it(length, changed, threshold):
    other = "a" * (length - changed) + "b" * changed
    assert EditSimilarity("levenshtein").nearest("a" * length, [other], threshold) == 0


def test_embedding_cosine():
    vectors = {"a": [1, 0], "b": [0.9, 0.1], "c": [0, 2]}
    cosine = EmbeddingSimilarity(lambda texts: [vectors[text] for text in texts])
    a, b, c = cosine.prepare(["a", "b", "c"])
    assert np.isclose(a @ b, 0.9 / np.hypot(0.9, 0.1))
    assert cosine.nearest(a, [c, b], 0.9) == 1
    assert cosine.nearest(a, [c], 0.9) is None
    assert cosine.nearest(a, [], 0.9) is None
    assert list(cosine.prepare([])) == []


def test_bad_embeddings_are_refused():
    with pytest.raises(ValueError, match="one row each"):
        EmbeddingSimilarity(lambda texts: [[1.0]]).prepare(["a", "b"])
    for vector in ([0.0, 0.0], [np.inf, 1.0], [np.nan, 1.0]):
        with pytest.raises(Failure, match="not finite; leave 'b' out"):
            EmbeddingSimilarity(lambda texts, vector=vector: [[0.0, 1.0], vector]).prepare(["a", "b"])


def test_similarity_takes_a_name_a_function_or_itself():
    assert similarity("indel").name == "indel"
    assert similarity(lambda texts: texts).name == "embedding"
    own = EditSimilarity("jaro_winkler")
    assert similarity(own) is own
    with pytest.raises(ValueError, match="levenshtein"):
        similarity("hamming")


def test_numbers():
    assert numbers("17 + 25 = 42, or 1,000.50 and x2") == ("17", "25", "42", "1,000.50", "2")
    assert numbers("none") == ()


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("The answer is (E).", "E"),
        ("The answer is A.", "A"),
        ("Option A is right, choice B isn't", "AB"),
        ("**A**, \\boxed{A}, (I) and A", "AAIA"),
        ("A man and I saw H2O; I think it's the A-team", ""),
    ],
)
def test_letters_of_options_are_kept_apart_like_numbers(text, letters):
    assert "".join(part for part in numbers(text) if part.isalpha()) == letters
