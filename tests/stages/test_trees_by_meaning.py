"""Trees whose steps merge by the embeddings of a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openprm.engines.sentence_embeddings import SentenceEmbeddings
from openprm.errors import InputError
from openprm.runs.folder import read_manifest, read_rows
from openprm.runs.manifest import describe_input
from openprm.stages import trees as tree_stage
from openprm.stages.trees import Trees
from tests import tiny_models
from tests.answers import answers, times, write_jsonl

pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = tiny_models.model("bert", kind="AutoModel", vocab_size=400)
    return str(tiny_models.saved(tmp_path_factory.mktemp("embedder"), made, tiny_models.tokenizer(None)))


def stage(file: str, embedder: str, **parameters) -> Trees:
    meaning = {"similarity": "embedding", "embedder": embedder, "linkage": "average", "threshold": 0.6}
    return Trees(candidates=file, **{**meaning, "distinct_names": True, **parameters})


@pytest.mark.slow
def test_neither_shards_processes_nor_rows_change_the_trees(tmp_path, monkeypatch, embedder):
    rows = [{"source": "a", **row} for row in answers(12)]
    hashes = set()
    for index, (per_shard, num_proc, order) in enumerate([(500, 1, 1), (5, 1, -1), (5, 2, 1)]):
        monkeypatch.setattr(tree_stage, "PROMPTS_PER_SHARD", per_shard)
        numbered = [{**row, "sample_index": i} for i, row in enumerate(rows)][::order]
        file = write_jsonl(tmp_path / f"{index}.jsonl", numbered)
        hashes.add(stage(file, embedder, num_proc=num_proc).run(tmp_path / str(index))["row_hash"])
    assert len(hashes) == 1
    edits = Trees(candidates=file, similarity="levenshtein", threshold=0.6).run(tmp_path / "edits")
    assert edits["row_hash"] not in hashes


def test_the_model_is_recorded_and_hashed(tmp_path, embedder):
    file = write_jsonl(tmp_path / "a.jsonl", answers(3))
    manifest = stage(file, embedder).run(tmp_path / "trees")
    described = describe_input(embedder, "embedder")
    assert manifest["inputs"]["embedder"] == described
    assert manifest["parameters"]["similarity"] == "embedding"
    (build,) = {json.dumps(tree["build"]) for tree in read_rows(tmp_path / "trees")}
    assert json.loads(build)["embedder"] == f"{described['name']}@{described['hash'][:12]}"
    assert json.loads(build)["linkage"] == "average"
    before = times(tmp_path / "trees")
    stage(file, embedder, embedding_cache=str(tmp_path / "kept")).run(tmp_path / "trees")
    assert times(tmp_path / "trees") == before


def test_embeddings_are_kept_for_other_runs(tmp_path, monkeypatch, embedder):
    file, kept = write_jsonl(tmp_path / "a.jsonl", answers(3)), str(tmp_path / "kept")
    stage(file, embedder, embedding_cache=kept).run(tmp_path / "first")
    monkeypatch.setattr(SentenceEmbeddings, "_model", property(lambda self: pytest.fail("loaded")))
    stage(file, embedder, embedding_cache=kept, threshold=0.9, linkage="complete").run(tmp_path / "second")
    assert read_manifest(tmp_path / "second")["parameters"]["threshold"] == 0.9


def test_examples_near_the_threshold_are_of_the_embeddings(tmp_path, embedder):
    manifest = stage(write_jsonl(tmp_path / "a.jsonl", answers(3)), embedder, threshold=0.99).run(tmp_path / "trees")
    (first, second, alike), *_ = manifest["near_threshold"]["apart"]
    one, other = SentenceEmbeddings(embedder, tmp_path)([first, second]).astype(float)
    assert alike == pytest.approx(one @ other / (one @ one) ** 0.5 / (other @ other) ** 0.5)
    assert alike < 0.99


def test_similarity_and_model_go_together(tmp_path, embedder):
    for parameters in ({"similarity": "embedding"}, {"embedder": embedder}):
        with pytest.raises(InputError, match="go together"):
            Trees(candidates="a.jsonl", **parameters)
    with pytest.raises(InputError, match="there is no such file or folder"):
        stage(write_jsonl(tmp_path / "a.jsonl", answers(1)), str(Path(embedder) / "none")).run(tmp_path / "trees")
