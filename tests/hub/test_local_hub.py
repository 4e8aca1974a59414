"""The tests' Hub, with the real client: that it refuses and hides what the real one does."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from tests.local_hub import Hub

REPO: dict[str, Any] = {"repo_id": "openprm/trees", "repo_type": "dataset"}


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


def ask(url: str, method: str, content: bytes, **headers: str) -> int:
    """Status of the answer, with no client between."""
    request = urllib.request.Request(url, content, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def status(call: Callable[[], Any]) -> int:
    with pytest.raises(HfHubHTTPError) as caught:
        call()
    return caught.value.response.status_code


def test_what_does_not_fit_is_refused(hub: Hub, api: HfApi) -> None:
    api.create_repo(**REPO)
    first = commit(api, {"README.md": b"---\nlicense: mit\n---\n"})
    commit(api, {"a.txt": b"a"}, parent_commit=first)
    assert status(lambda: commit(api, {"b.txt": b"b"}, parent_commit=first)) == 412
    assert status(lambda: api.create_repo(**REPO)) == 409
    api.create_tag(**REPO, tag="v1")
    assert status(lambda: api.create_tag(**REPO, tag="v1")) == 409
    with pytest.raises(ValueError, match="Invalid metadata"):
        commit(api, {"README.md": b"---\nlicense: [\n---\n"})
    assert ask(f"{hub.storage}/{'0' * 64}", "PUT", b"other") == 400
    pointer = {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": "0" * 64, "size": 5}}
    lines = [{"key": "header", "value": {"summary": "x", "description": ""}}, pointer]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    url = f"{hub.endpoint}/api/datasets/openprm/trees/commit/main"
    assert ask(url, "POST", body, Authorization=f"Bearer {hub.token}") == 400
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
