"""The tests' Hub, with the real client: that it refuses and hides what the real one does."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

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

REPO: dict[str, Any] = {"repo_id": "openprm/trees", "repo_type": "dataset"}
LARGE = Random(0).randbytes(2_500_000)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with Hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token)


def commit(api: HfApi, files: dict[str, bytes], **options: Any) -> str:
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(**REPO | {"operations": operations, "commit_message": "Publish"} | options).oid


def published(api: HfApi) -> str:
    api.create_repo(**REPO)
    card = b"---\nlicense: mit\n---\n"
    return commit(api, {"README.md": card, "data/a.parquet": LARGE, "data/b.png": b"\0small"})


def read(api: HfApi, path: str, cache: Path, revision: str | None = None) -> bytes:
    return Path(api.hf_hub_download(**REPO, filename=path, cache_dir=cache, revision=revision)).read_bytes()


def ask(url: str, method: str = "GET", content: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of the answer, with no client between."""
    request = urllib.request.Request(url, content, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def status(call: Callable[[], Any]) -> int:
    with pytest.raises(HfHubHTTPError) as caught:
        call()
    return caught.value.response.status_code


def test_commits_and_tags_are_kept_and_read(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    first = published(api)
    files = {file.path: file for file in api.list_repo_tree(**REPO, recursive=True) if hasattr(file, "size")}
    assert {path: bool(file.lfs) for path, file in files.items()} == {
        ".gitattributes": False,
        "README.md": False,
        "data/a.parquet": True,
        "data/b.png": True,
    }
    assert api.repo_info(**REPO).card_data.license == "mit"
    api.create_tag(**REPO, tag="v1/a")
    sent = hub.sent()
    commit(api, {"elsewhere.parquet": LARGE})  # which is there already
    assert hub.sent() - sent < 1000
    deletion = [CommitOperationDelete("README.md")]
    second = commit(api, {"data/a.parquet": b"PAR1"}, operations=[*deletion, CommitOperationAdd("a.txt", b"a")])
    assert "README.md" not in api.list_repo_files(**REPO)
    assert api.repo_info(**REPO, revision="v1/a").sha == first
    assert read(api, "data/a.parquet", tmp_path, "v1/a") == read(api, "data/a.parquet", tmp_path) == LARGE
    refs = api.list_repo_refs(**REPO)
    assert [(ref.name, ref.target_commit) for ref in [*refs.branches, *refs.tags]] == [
        ("main", second),
        ("v1/a", first),
    ]
    with Hub(tmp_path / "hub") as again:
        assert HfApi(endpoint=again.endpoint, token=again.token).repo_info(**REPO).sha == second


def test_what_does_not_fit_is_refused(hub: Hub, api: HfApi) -> None:
    first = published(api)
    commit(api, {"a.txt": b"a"}, parent_commit=first)
    assert status(lambda: commit(api, {"b.txt": b"b"}, parent_commit=first)) == 412
    assert status(lambda: api.create_repo(**REPO)) == 409
    api.create_tag(**REPO, tag="v1")
    assert status(lambda: api.create_tag(**REPO, tag="v1")) == 409
    with pytest.raises(ValueError, match="Invalid metadata"):
        commit(api, {"README.md": b"---\nlicense: [\n---\n"})
    assert ask(f"{hub.storage}/{'0' * 64}", "PUT", b"other")[0] == 400
    pointer = {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": "0" * 64, "size": 5}}
    lines = [{"key": "header", "value": {"summary": "x", "description": ""}}, pointer]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    url = f"{hub.endpoint}/api/datasets/openprm/trees/commit/main"
    assert ask(url, "POST", body, Authorization=f"Bearer {hub.token}")[0] == 400
    assert not {"a.bin", "b.txt"} & {*api.list_repo_files(**REPO)}


def test_who_may_see_and_change_what(hub: Hub, api: HfApi) -> None:
    api.create_repo(**REPO, private=True)
    api.create_repo("openprm/one")
    reader, other, unknown, anonymous = (
        HfApi(endpoint=hub.endpoint, token=token) for token in (hub.read_token, hub.other_token, "hf_wrong", False)
    )
    assert reader.repo_info(**REPO).private
    assert status(lambda: commit(reader, {"a": b"a"})) == 403
    assert status(lambda: other.create_repo("openprm/other")) == 403
    assert status(lambda: unknown.repo_info(**REPO)) == status(unknown.whoami) == 401
    for hidden in (other, anonymous):
        with pytest.raises(RepositoryNotFoundError):
            hidden.repo_info(**REPO)
    assert [model.id for model in anonymous.list_models(author="openprm")] == ["openprm/one"]
    assert list(anonymous.list_datasets(author="openprm")) == []


def test_what_is_missing_has_its_own_error(api: HfApi, tmp_path: Path) -> None:
    published(api)
    with pytest.raises(EntryNotFoundError):
        read(api, "none.json", tmp_path)
    with pytest.raises(RevisionNotFoundError):
        read(api, "README.md", tmp_path, "none")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("openprm/none")


def test_parts_of_a_file(hub: Hub, api: HfApi) -> None:
    published(api)
    url = f"{hub.endpoint}/datasets/openprm/trees/resolve/main/data/a.parquet"
    asked = {"bytes=5-9": LARGE[5:10], "bytes=2499990-": LARGE[-10:], "bytes=-4": LARGE[-4:]}
    for wanted, part in asked.items():
        code, headers, body = ask(url, Range=wanted)
        assert (code, body) == (206, part)
    assert headers["Content-Range"] == "bytes 2499996-2499999/2500000"
    assert ask(url, Range="bytes=2500000-")[0] == 416


def test_faults_as_asked_for(hub: Hub, api: HfApi) -> None:
    published(api)
    hub.faults += [Fault("GET .*/refs", 503, retry_after=7), Fault("GET .*/refs", "drop")]
    url = f"{hub.endpoint}/api/datasets/openprm/trees/refs"
    code, headers, _ = ask(url)
    assert (code, headers["Retry-After"]) == (503, "7")
    with pytest.raises(ConnectionError):
        ask(url)
    assert ask(url)[0] == 200
    assert [request.status for request in hub.requests[-3:]] == [503, 0, 200]
    hub.faults.append(Fault("GET .*/trees", 403, code="GatedRepo"))
    with pytest.raises(GatedRepoError):
        api.repo_info(**REPO)
