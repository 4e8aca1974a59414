"""The tests' Hub, with the real clients: in process where they take an endpoint, in a fresh one where they read it at
import."""

import hashlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.local_hub import Fault, Hub

REPO = {"repo_id": "openprm/trees", "repo_type": "dataset"}
#: More than one part of an upload.
LARGE = Random(0).randbytes(2_500_000)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with Hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token)


def commit(api: HfApi, files: dict[str, bytes], **options: object) -> str:
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(**REPO | {"operations": operations, "commit_message": "Publish"} | options).oid


def published(api: HfApi) -> str:
    api.create_repo(**REPO)
    card = b"---\nlicense: mit\n---\n"
    return commit(api, {"README.md": card, "data/a.parquet": LARGE, "data/b.png": b"\0small"})


def read(api: HfApi, path: str, cache: Path, revision: str | None = None) -> bytes:
    return Path(api.hf_hub_download(**REPO, filename=path, cache_dir=cache, revision=revision)).read_bytes()


def fresh(hub: Hub, home: Path, code: str, **options: bool) -> dict:
    """What the code prints as JSON in a process of its own, with empty caches."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=hub.environment(home, **options),
        cwd=Path.cwd(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def ask(url: str, method: str = "GET", content: bytes | None = None, **headers: str) -> tuple[int, Message, bytes]:
    """Status, headers and body of the answer, with no client between."""
    request = urllib.request.Request(url, content, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def status(call: object) -> int:
    with pytest.raises(HfHubHTTPError) as caught:
        call()  # type: ignore[operator]
    return caught.value.response.status_code


def test_a_commit_can_be_listed_and_read(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    head = published(api)
    files = {file.path: file for file in api.list_repo_tree(**REPO, recursive=True) if hasattr(file, "size")}
    assert list(files) == [".gitattributes", "README.md", "data/a.parquet", "data/b.png"]
    assert [bool(file.lfs) for file in files.values()] == [False, False, True, True]
    assert [entry.path for entry in api.list_repo_tree(**REPO)] == [".gitattributes", "README.md", "data"]
    assert [entry.path for entry in api.get_paths_info(**REPO, paths=["data", "none"])] == ["data"]
    info = api.repo_info(**REPO, files_metadata=True)
    assert info.sha == head
    assert info.card_data.license == "mit"
    assert {sibling.rfilename: sibling.size for sibling in info.siblings}["data/a.parquet"] == len(LARGE)
    assert api.repo_info(**REPO, expand=["sha"]).siblings is None
    assert read(api, "data/a.parquet", tmp_path) == LARGE
    assert read(api, "README.md", tmp_path) == b"---\nlicense: mit\n---\n"


def test_a_large_file_goes_in_parts(hub: Hub, api: HfApi) -> None:
    published(api)
    puts = [request.path for request in hub.requests if request.method == "PUT"]
    assert [path.split("/parts/")[1] for path in puts if "/parts/" in path] == ["00001", "00002", "00003"]
    assert len(puts) == 4
    assert hub.sent() > len(LARGE)


def test_what_is_there_is_not_sent_again(hub: Hub, api: HfApi) -> None:
    published(api)
    before = len(hub.requests), hub.sent()
    assert commit(api, {"data/a.parquet": LARGE}) == api.repo_info(**REPO).sha
    commit(api, {"elsewhere.parquet": LARGE})
    assert not [request for request in hub.requests[before[0] :] if request.method == "PUT"]
    assert hub.sent() - before[1] < 1000
    assert len(api.list_repo_commits(**REPO)) == 3


def test_files_and_folders_are_deleted(api: HfApi) -> None:
    published(api)
    operations = [CommitOperationDelete("data/"), CommitOperationDelete("README.md")]
    api.create_commit(**REPO, operations=operations, commit_message="Delete")
    assert api.list_repo_files(**REPO) == [".gitattributes"]


def test_revisions(api: HfApi, tmp_path: Path) -> None:
    first = published(api)
    api.create_tag(**REPO, tag="v1/a")
    second = commit(api, {"data/a.parquet": b"PAR1"})
    assert api.repo_info(**REPO, revision="v1/a").sha == first
    assert read(api, "data/a.parquet", tmp_path, "v1/a") == read(api, "data/a.parquet", tmp_path, first) == LARGE
    assert read(api, "data/a.parquet", tmp_path) == b"PAR1"
    refs = api.list_repo_refs(**REPO)
    assert [(ref.name, ref.target_commit) for ref in [*refs.branches, *refs.tags]] == [
        ("main", second),
        ("v1/a", first),
    ]
    assert [each.title for each in api.list_repo_commits(**REPO, revision="v1/a")] == ["Publish", "initial commit"]
    assert status(lambda: api.create_tag(**REPO, tag="v1/a")) == 409
    api.delete_tag(**REPO, tag="v1/a")
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(**REPO, revision="v1/a")


def test_a_commit_on_an_older_parent_is_refused(api: HfApi) -> None:
    first = published(api)
    commit(api, {"a.txt": b"a"}, parent_commit=first)
    assert status(lambda: commit(api, {"b.txt": b"b"}, parent_commit=first)) == 412
    assert "b.txt" not in api.list_repo_files(**REPO)


def test_repositories_are_created_once(hub: Hub, api: HfApi) -> None:
    url = api.create_repo(**REPO)
    assert (url.repo_id, url.repo_type) == ("openprm/trees", "dataset")
    assert api.create_repo(**REPO, exist_ok=True) == url
    assert status(lambda: api.create_repo(**REPO)) == 409
    api.create_repo("openprm/trees")
    api.create_repo("openprm/demo", repo_type="space", space_sdk="gradio")
    assert api.space_info("openprm/demo").sdk == "gradio"
    assert api.list_repo_files("openprm/demo", repo_type="space") == [".gitattributes", "README.md"]
    api.delete_repo(**REPO)
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info(**REPO)
    assert api.model_info("openprm/trees")


def test_who_may_do_what(hub: Hub, api: HfApi) -> None:
    api.create_repo(**REPO, private=True)
    reader, stranger, unknown, nobody = (
        HfApi(endpoint=hub.endpoint, token=token) for token in (hub.read_token, hub.stranger_token, "hf_wrong", False)
    )
    assert (api.whoami()["orgs"][0]["name"], reader.whoami()["auth"]["accessToken"]["role"]) == ("openprm", "read")
    assert reader.repo_info(**REPO).private
    assert status(lambda: commit(reader, {"a": b"a"})) == 403
    assert status(lambda: reader.create_repo("openprm/other")) == 403
    assert status(lambda: stranger.create_repo("openprm/other")) == 403
    assert status(lambda: unknown.repo_info(**REPO)) == status(unknown.whoami) == 401
    assert status(lambda: stranger.repo_info(**REPO)) == 404
    for hidden in (stranger, nobody):
        with pytest.raises(RepositoryNotFoundError):
            hidden.repo_info(**REPO)
    api.create_repo("openprm/public")
    assert nobody.model_info("openprm/public")
    assert status(lambda: stranger.auth_check("openprm/public", write=True)) == 403


def test_the_repositories_of_an_owner(hub: Hub, api: HfApi) -> None:
    api.create_repo("openprm/one")
    api.create_repo("openprm/two", private=True)
    api.create_repo("publisher/three")
    api.create_repo(**REPO)
    stranger = HfApi(endpoint=hub.endpoint, token=hub.stranger_token)
    assert [model.id for model in api.list_models(author="openprm")] == ["openprm/one", "openprm/two"]
    assert [model.id for model in stranger.list_models(author="openprm")] == ["openprm/one"]
    assert [dataset.id for dataset in stranger.list_datasets(author="openprm")] == ["openprm/trees"]


def test_what_is_missing_has_its_own_error(api: HfApi, tmp_path: Path) -> None:
    published(api)
    with pytest.raises(EntryNotFoundError):
        read(api, "none.json", tmp_path)
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(**REPO, path_in_repo="none"))
    with pytest.raises(RevisionNotFoundError):
        read(api, "README.md", tmp_path, "none")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("openprm/none")


def test_a_card_that_is_no_yaml_is_refused(api: HfApi) -> None:
    api.create_repo(**REPO)
    with pytest.raises(ValueError, match="Invalid metadata"):
        commit(api, {"README.md": b"---\nlicense: [\n---\n"})


def test_content_must_be_what_was_announced(hub: Hub, api: HfApi) -> None:
    api.create_repo(**REPO)
    assert ask(f"{hub.storage}/{'0' * 64}", "PUT", b"other")[0] == 400
    pointer = {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": "0" * 64, "size": 5}}
    lines = [{"key": "header", "value": {"summary": "x", "description": ""}}, pointer]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    url = f"{hub.endpoint}/api/datasets/openprm/trees/commit/main"
    assert ask(url, "POST", body, Authorization=f"Bearer {hub.token}")[0] == 400
    assert api.list_repo_files(**REPO) == [".gitattributes"]
    assert not list((hub.store.root / "incoming").iterdir())


def test_parts_of_a_file(hub: Hub, api: HfApi) -> None:
    published(api)
    url = f"{hub.endpoint}/datasets/openprm/trees/resolve/main/data/a.parquet"
    asked = {"bytes=5-9": LARGE[5:10], "bytes=2499990-": LARGE[-10:], "bytes=-4": LARGE[-4:]}
    for wanted, part in asked.items():
        code, headers, body = ask(url, Range=wanted)
        assert (code, body) == (206, part)
    assert headers["Content-Range"] == "bytes 2499996-2499999/2500000"
    assert ask(url, Range="bytes=2500000-")[0] == 416


def test_a_hub_goes_on_where_it_was(tmp_path: Path) -> None:
    with Hub(tmp_path / "hub") as hub:
        head = published(HfApi(endpoint=hub.endpoint, token=hub.token))
    with Hub(tmp_path / "hub") as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.token)
        assert api.repo_info(**REPO).sha == head
        assert read(api, "data/a.parquet", tmp_path / "cache") == LARGE


def test_faults_as_asked_for(hub: Hub, api: HfApi) -> None:
    published(api)
    hub.faults += [Fault("GET .*/refs", 503, retry_after=7), Fault("GET .*/refs", 429), Fault("GET .*/refs", "drop")]
    url = f"{hub.endpoint}/api/datasets/openprm/trees/refs"
    code, headers, _ = ask(url)
    assert (code, headers["Retry-After"]) == (503, "7")
    assert ask(url)[0] == 429
    with pytest.raises(ConnectionError):
        ask(url)
    assert ask(url)[0] == 200
    assert [request.status for request in hub.requests[-4:]] == [503, 429, 0, 200]
    hub.faults.append(Fault("GET .*/trees", 403, code="GatedRepo"))
    with pytest.raises(GatedRepoError):
        api.repo_info(**REPO)
    hub.faults += [Fault("POST .*/preupload/", 500), Fault("PUT ", "drop")]
    commit(api, {"data/a.parquet": b"PAR1"})  # the client asks again
    assert [file.size for file in api.get_paths_info(**REPO, paths=["data/a.parquet"])] == [4]


def test_a_hub_that_hangs_lets_go_when_it_stops(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        with Hub(tmp_path) as hub:
            hub.faults.append(Fault("GET /api/whoami-v2", "hang"))
            asked = pool.submit(ask, f"{hub.endpoint}/api/whoami-v2")
            while hub.faults[0].times:
                time.sleep(0.01)
            assert not asked.done()
        with pytest.raises(ConnectionError):
            asked.result()


def test_many_at_a_time(hub: Hub, api: HfApi) -> None:
    published(api)
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda _: api.repo_info(**REPO), range(50)))
    assert [request.status for request in hub.requests[-50:]] == [200] * 50


CLIENTS = """
import json
import evaluate
import pandas
from datasets import load_dataset
from huggingface_hub import HfFileSystem
from transformers import AutoModelForSequenceClassification, pipeline

files = HfFileSystem()
print(json.dumps({
    "train": list(load_dataset("openprm/trees", split="train")["n"]),
    "other": list(load_dataset("openprm/trees", "other", split="train")["n"]),
    "tag": list(load_dataset("openprm/trees", split="train", revision="v1")["n"]),
    "streamed": [row["n"] for row in load_dataset("openprm/trees", split="train", streaming=True)],
    "pandas": pandas.read_parquet("hf://datasets/openprm/trees@v1/data/train.parquet")["n"].tolist(),
    "found": sorted(files.glob("datasets/openprm/trees/**/*.parquet")),
    "tail": files.cat_file("datasets/openprm/trees/data/train.parquet", start=-4).decode(),
    "parameters": AutoModelForSequenceClassification.from_pretrained("openprm/model").num_parameters(),
    "reward": pipeline("text-classification", model="openprm/model")("Hello.")[0]["score"],
    "metric": evaluate.load("openprm/twice").compute(predictions=[1.0, 2.0]),
}))
"""

CARD = """---
configs:
- config_name: default
  data_files: [{split: train, path: data/train.parquet}]
- config_name: other
  data_files: [{split: train, path: other/train.parquet}]
---
"""

METRIC = """
import datasets
import evaluate
from .factor import FACTOR

class Twice(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("float")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions):
        return {"twice": FACTOR * sum(predictions)}
"""


def parquet(values: list[int]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": values}), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.slow
def test_the_clients_of_the_published(hub: Hub, api: HfApi, base: Path, tmp_path: Path) -> None:
    api.create_repo(**REPO)
    commit(api, {"data/train.parquet": parquet([1, 2])})
    api.create_tag(**REPO, tag="v1")
    commit(api, {"data/train.parquet": parquet([3]), "other/train.parquet": parquet([4]), "README.md": CARD.encode()})
    api.create_repo("openprm/model")
    api.upload_folder(repo_id="openprm/model", folder_path=base)
    api.create_repo("openprm/twice", repo_type="space", space_sdk="gradio")
    metric = {"twice.py": METRIC.encode(), "factor.py": b"FACTOR = 2\n"}
    commit(api, metric, repo_id="openprm/twice", repo_type="space")
    (tmp_path / "empty").mkdir()
    seen = fresh(hub, tmp_path / "home", f"import os; os.chdir({str(tmp_path / 'empty')!r})" + CLIENTS)
    assert seen.pop("parameters") > 0
    assert isinstance(seen.pop("reward"), float)
    assert seen == {
        "train": [3],
        "other": [4],
        "tag": [1, 2],
        "streamed": [3],
        "pandas": [1, 2],
        "found": ["datasets/openprm/trees/data/train.parquet", "datasets/openprm/trees/other/train.parquet"],
        "tail": "PAR1",
        "metric": {"twice": 6.0},
    }


XET_UPLOAD = """
import json, sys
from pathlib import Path
from huggingface_hub import HfApi, CommitOperationAdd
files = [CommitOperationAdd(path.name, path) for path in Path({folder!r}).iterdir()]
print(json.dumps(HfApi().create_commit("openprm/model", files, commit_message="Publish").oid))
"""

XET_DOWNLOAD = """
import hashlib, json
from pathlib import Path
from huggingface_hub import snapshot_download
folder = Path(snapshot_download("openprm/model"))
print(json.dumps({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.bin")}))
"""


def test_up_and_down_through_xet(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    api.create_repo("openprm/model")
    contents = {"a.bin": LARGE, "b.bin": Random(1).randbytes(3_000_000), "c.bin": LARGE[:1_500_000] + LARGE}
    for upload in (("a.bin",), ("b.bin", "c.bin")):  # two commits: their files lie in two storages
        folder = tmp_path / upload[0]
        folder.mkdir()
        for name in upload:
            (folder / name).write_bytes(contents[name])
        fresh(hub, tmp_path / f"home-{upload[0]}", XET_UPLOAD.format(folder=str(folder)), xet=True)
    assert not [request for request in hub.requests if request.method == "PUT"]
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    for xet in (True, False):
        before = len(hub.requests)
        assert fresh(hub, tmp_path / f"home-{xet}", XET_DOWNLOAD, xet=xet) == hashes
        assert any("/storage/" in request.path for request in hub.requests[before:]) != xet
        assert any("/xet-read-token/" in request.path for request in hub.requests[before:]) == xet
