"""Sentence embeddings: what is kept on disk, and that neither batch nor history changes a vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openprm.engines import sentence_embeddings
from openprm.engines.sentence_embeddings import SentenceEmbeddings
from openprm.errors import InputError
from tests import tiny_models

pytest.importorskip("sentence_transformers")
TEXTS = ["First, add the numbers.", "So the answer is five.", "Then, divide by two.", "x", "日本 \ud800"]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny_models.model("bert", kind="AutoModel", max_position_embeddings=64, vocab_size=400)
    tokenizer = tiny_models.tokenizer(None, model_max_length=64)
    return tiny_models.saved(tmp_path_factory.mktemp("embedder"), made, tokenizer)


class Killed(BaseException):
    pass


def test_neither_batch_nor_history_changes_a_vector(embedder: Path, tmp_path: Path):
    together = SentenceEmbeddings(str(embedder), tmp_path / "a")(TEXTS)
    assert together.shape == (5, 32)
    assert np.isfinite(together).all()
    alone = SentenceEmbeddings(str(embedder), tmp_path / "b")
    assert np.array_equal(np.concatenate([alone([text]) for text in TEXTS[::-1]])[::-1], together)


def test_they_are_those_of_sentence_transformers(embedder: Path, tmp_path: Path):
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(embedder)).encode(TEXTS[:4])
    assert SentenceEmbeddings(str(embedder), tmp_path)(TEXTS[:4]) == pytest.approx(expected, abs=1e-5)


def test_what_a_killed_run_embedded_is_kept(embedder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sentence_embeddings, "_PER_COMMIT", 2)
    embeddings, asked = SentenceEmbeddings(str(embedder), tmp_path), []
    model = sentence_embeddings._load(str(embedder), embeddings._hash)

    class Once:
        max_seq_length, tokenizer = model.max_seq_length, model.tokenizer

        def encode(self, texts, **options):
            if len(asked) == 2:
                raise Killed
            asked.extend(texts)
            return model.encode(texts, **options)

    monkeypatch.setattr(sentence_embeddings, "_load", lambda *_: Once())
    with pytest.raises(Killed):
        embeddings(TEXTS[:4])
    assert sorted(asked, key=len) == ["So the answer is five.", "First, add the numbers."]
    asked.clear()
    monkeypatch.setattr(Once, "encode", lambda self, texts, **_: [asked.extend(texts), model.encode(texts)][1])
    embeddings(TEXTS[:4])
    assert sorted(asked) == ["Then, divide by two.", "x"]


def test_no_model_is_loaded_for_what_is_there(embedder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = SentenceEmbeddings(str(embedder), tmp_path)(TEXTS)
    monkeypatch.setattr(sentence_embeddings, "_load", lambda *_: pytest.fail("loaded"))
    assert np.array_equal(SentenceEmbeddings(str(embedder), tmp_path)(TEXTS), first)


def test_another_model_has_a_file_of_its_own(embedder: Path, tmp_path: Path):
    other = tmp_path / "other"
    tiny_models.saved(
        other, tiny_models.model("bert", kind="AutoModel", vocab_size=400, seed=1), tiny_models.tokenizer(None)
    )
    both = [SentenceEmbeddings(str(path), tmp_path / "kept") for path in (embedder, other)]
    assert not np.allclose(both[0](["x"]), both[1](["x"]))
    assert len(list((tmp_path / "kept").iterdir())) == 2
    assert both[0].name != both[1].name


def test_texts_that_the_model_reads_in_part_are_counted(embedder: Path, tmp_path: Path):
    embeddings = SentenceEmbeddings(str(embedder), tmp_path)
    long = "".join(map(chr, range(200, 400)))
    for index in range(2):  # computed, then read
        embeddings([long, long, "short", long + "?"])
        assert embeddings.cut == 2 * (index + 1)


def test_what_cannot_be_loaded_is_said(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded by SentenceTransformer"):
        SentenceEmbeddings(str(tmp_path / "model"), tmp_path)(["x"])
    with pytest.raises(InputError, match="there is no such file"):
        SentenceEmbeddings(str(tmp_path / "none"), tmp_path)


def test_a_file_that_is_damaged_is_no_silent_result(embedder: Path, tmp_path: Path):
    embeddings = SentenceEmbeddings(str(embedder), tmp_path)
    embeddings(["x"])
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"no database" * 500)
    with pytest.raises(InputError, match=rf"{file.name}: .*not a database.*delete it"):
        embeddings(["x"])
