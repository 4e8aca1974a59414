"""Trees whose steps merge by the embeddings of a model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from openprm.cli import main
from openprm.data.candidates import CandidateSource
from openprm.engines import sentence_embeddings
from openprm.engines.sentence_embeddings import SentenceEmbeddings
from openprm.errors import InputError
from openprm.runs.folder import read_manifest, read_rows
from openprm.runs.manifest import describe_input
from openprm.stages import trees as tree_stage
from openprm.stages.trees import Trees
from openprm.trees import clustering
from openprm.trees.similarity import EDIT_SIMILARITIES
from tests import tiny_models
from tests.answers import answers, rejected, times, write_jsonl

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
    monkeypatch.setattr(sentence_embeddings, "_load", lambda *_: pytest.fail("loaded"))
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


@pytest.mark.parametrize("module", ["scipy.cluster.hierarchy", "sentence_transformers"])
def test_an_extra_that_is_missing_is_said_before_anything_is_read(tmp_path, monkeypatch, embedder, module):
    monkeypatch.setattr(CandidateSource, "read", lambda *_: pytest.fail("read"))
    monkeypatch.setitem(sys.modules, module, None)
    sentence_embeddings._load.cache_clear()
    with pytest.raises(InputError, match=r"pip install 'openprm\[embeddings\]'$"):
        stage(write_jsonl(tmp_path / "a.jsonl", answers(1)), embedder).run(tmp_path / "trees")


def test_a_model_that_cannot_be_loaded_is_said_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(CandidateSource, "read", lambda *_: pytest.fail("read"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded by SentenceTransformer"):
        stage(write_jsonl(tmp_path / "a.jsonl", answers(1)), str(tmp_path / "model")).run(tmp_path / "trees")


def test_the_model_is_hashed_once_a_run_and_loaded_once_a_process(tmp_path, monkeypatch, embedder):
    monkeypatch.setattr(tree_stage, "PROMPTS_PER_SHARD", 2)
    hashed, load, loaded = [], sentence_embeddings._load, []
    load.cache_clear()
    monkeypatch.setattr(sentence_embeddings, "describe_input", lambda *a: hashed.append(a) or describe_input(*a))
    monkeypatch.setattr(sentence_embeddings, "_load", lambda *a: loaded.append(load(*a)) or loaded[-1])
    stage(write_jsonl(tmp_path / "a.jsonl", answers(6)), embedder).run(tmp_path / "trees")
    assert len(list((tmp_path / "trees" / "data").iterdir())) == 3
    assert len(hashed) == 1
    assert len(loaded) > 3
    assert len({*map(id, loaded)}) == 1


def test_steps_that_the_model_cuts_are_counted_once_whatever_the_shards(tmp_path, monkeypatch, embedder):
    rows = [{**row, "response": f"{row['response']} {' so' * 300}"} for row in answers(6)]
    counts = []
    for index, per_shard in enumerate([500, 2]):
        monkeypatch.setattr(tree_stage, "PROMPTS_PER_SHARD", per_shard)
        manifest = stage(write_jsonl(tmp_path / "a.jsonl", rows), embedder).run(tmp_path / str(index))
        counts.append(manifest["counts"]["steps_longer_than_the_embedder_reads"])
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_step_without_an_embedding_costs_its_prompt_alone(tmp_path, monkeypatch, embedder, value):
    embed = SentenceEmbeddings.__call__

    def spoiled(self, texts):
        return np.where([["long sum" in text and "1" in text] for text in texts], value, embed(self, texts))

    monkeypatch.setattr(SentenceEmbeddings, "__call__", spoiled)
    rows = [{**row, "prompt_id": f"p{i % 3}"} for i, row in enumerate(answers(3))]
    for row in rows[1:]:
        row["response"] = row["response"].replace("1 of the long", "2 of the long")
    rows[0]["response"] = "Step 1 of the long sum, " + "and so on, " * 20
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    manifest = stage(file, embedder).run(tmp_path / "trees")
    assert (manifest["rows"], sum(manifest["counts"]["rejected"].values())) == (2, 4)
    failures = rejected(tmp_path / "trees")
    assert [each["key"] for each in failures] == [f"prompt 'p0', sample {index}" for index in range(4)]
    assert {each["reason"] for each in failures} == {"the embedding of a step is zero or not finite"}
    (remedy,) = {each["remedy"] for each in failures}
    assert "'Step 1 of the long sum, and so on" in remedy
    assert len(remedy) < 200
    with pytest.raises(InputError, match=r"not finite.*--strict"):
        stage(file, embedder, strict=True).run(tmp_path / "strict")


def test_too_many_steps_at_one_parent_cost_their_prompt_alone(tmp_path, monkeypatch, embedder):
    monkeypatch.setattr(clustering, "_MOST", 3)
    rows = [{"question": q, "response": f"{q} is {word}", "reward": 1} for q in "pq" for word in ("a", "b", "c")]
    file = write_jsonl(tmp_path / "a.jsonl", [*rows, {**rows[0], "response": "p is d"}])
    for linkage, left in (("average", 1), ("complete", 1), ("first", 2)):
        manifest = stage(file, embedder, linkage=linkage).run(tmp_path / linkage)
        assert manifest["rows"] == left
        assert sum(manifest["counts"]["rejected"].values()) == (4 if left == 1 else 0)


def test_the_plot_shows_embeddings_too_and_says_in_a_line_where_there_is_none(tmp_path, monkeypatch, capsys, embedder):
    file, out = write_jsonl(tmp_path / "a.jsonl", answers(3)), str(tmp_path / "a.png")
    meaning = ["--similarity", "embedding", "--embedder", embedder, "--plot", out]
    monkeypatch.setattr(sys, "argv", ["openprm", "trees", file, *meaning])
    with pytest.raises(SystemExit, match="0"):
        main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [*EDIT_SIMILARITIES, "embedding"]
    assert lines[-1].split(";")[0].partition(":")[2] == lines[0].split(";")[0].partition(":")[2]  # as many pairs
    monkeypatch.setattr(SentenceEmbeddings, "__call__", lambda self, texts: np.zeros((len(texts), 2)))
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "openprm: the embedding of a step is zero or not finite; leave '" in capsys.readouterr().err
