"""Publishing to a Hub with the real client: what is sent, what is refused, and what a broken run leaves."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from openprm.push import hub_repository as remote
from openprm.push import retry as patience
from openprm.push.upload import Sent, plan, upload

from openprm.errors import InputError
from tests.local_hub import Fault, Hub
from tests.local_hub.server import Handler

KINDS = {"orm": "model", "trees": "trees", "demo": "demo", "candidates": "candidates", "best_of_n": "metric"}
ORDER = ["candidates", "trees", "orm", "best_of_n", "demo"]
TYPES = {"orm": "model", "trees": "dataset", "demo": "space", "candidates": "dataset", "best_of_n": "space"}


def lay_out(root: Path) -> Path:
    """A small layout: a table that is uploaded in parts, a smaller one, weights, cards and code."""
    random = Random(0)
    for name, kind in KINDS.items():
        folder = root / name
        (folder / "data").mkdir(parents=True)
        (folder / "README.md").write_text(f"---\nlicense: mit\n---\n# {name}\n")
        if TYPES[name] == "dataset":
            for split, rows in (("train", 1_500_000 if name == "trees" else 10), ("test", 10)):
                table = pa.table({"x": pa.array(random.randbytes(rows), pa.uint8())})
                pq.write_table(table, folder / "data" / f"{split}-00000.parquet", compression="none")
        elif TYPES[name] == "model":
            (folder / "model.safetensors").write_bytes(random.randbytes(10_000))
            (folder / "config.json").write_text("{}")
            (folder / ".eval_results").mkdir()
            (folder / ".eval_results" / "tiny.yaml").write_text("a: 1\n")
        else:
            (folder / "app.py").write_text("print()\n")
        write_manifest(folder, kind)
    return root


def write_manifest(folder: Path, kind: str) -> None:
    files = {path: hashlib.sha256(content).hexdigest() for path, content in contents(folder).items()}
    files.pop("manifest.json", None)
    manifest = {"published_by": "openprm 0.1.0", "kind": kind, "parts": {}, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("layout") / "openprm")


@pytest.fixture
def root(laid_out: Path, tmp_path: Path) -> Path:
    """To change at will."""
    return shutil.copytree(laid_out, tmp_path / "openprm")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with Hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What our own loop and the client's would have waited."""
    waits: list[float] = []
    for module in ("openprm.push.retry.time", "huggingface_hub.utils._http.time"):
        monkeypatch.setattr(f"{module}.sleep", waits.append)
    return waits


def publish(root: Path, hub: Hub, said: list[str] | None = None, **options: Any) -> list[Sent]:
    asked = {"private": None, "tag": None, "token": hub.token, "endpoint": hub.endpoint, **options}
    return upload(root, "openprm", say=(said if said is not None else []).append, **asked)


def published(hub: Hub, name: str, revision: str = "main") -> dict[str, bytes]:
    """The files of a repository, read past the server, without the Hub's own."""
    folder = hub.store.root / "repos" / f"{TYPES[name]}s" / "openprm" / name
    info = json.loads((folder / "repo.json").read_bytes())
    commit = info["branches"].get(revision) or info["tags"].get(revision)
    files = json.loads((folder / "commits" / f"{commit}.json").read_bytes())["files"]
    blobs = hub.store.root / "blobs"
    return {path: (blobs / file["sha256"]).read_bytes() for path, file in files.items() if path != ".gitattributes"}


def titles(hub: Hub, name: str, **options: Any) -> list[str]:
    """Of the commits, the newest first."""
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    return [c.title for c in api.list_repo_commits(f"openprm/{name}", repo_type=TYPES[name], **options)]


def is_published(hub: Hub, root: Path) -> bool:
    return all(published(hub, name) == contents(root / name) for name in KINDS)


def exists(hub: Hub, name: str) -> bool:
    return (hub.store.root / "repos" / f"{TYPES[name]}s" / "openprm" / name).exists()


def changes(hub: Hub) -> list[str]:
    """The requests that change anything."""
    harmless = ("/preupload/", "/lfs/objects/batch", "/validate-yaml")
    return [
        f"{asked.method} {asked.path}"
        for asked in hub.requests
        if asked.method not in ("GET", "HEAD") and not any(part in asked.path for part in harmless)
    ]


def commits(hub: Hub) -> list[str]:
    return [asked for asked in changes(hub) if "/commit/" in asked]


def other_repository(hub: Hub, name: str, files: dict[str, bytes]) -> HfApi:
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    api.create_repo(f"openprm/{name}", repo_type=TYPES[name], space_sdk="gradio" if TYPES[name] == "space" else None)
    add(api, name, files)
    return api


def add(api: HfApi, name: str, files: dict[str, bytes]) -> None:
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    api.create_commit(f"openprm/{name}", operations, commit_message="Other", repo_type=TYPES[name])


def test_a_plan_says_what_goes_where_in_order(root: Path):
    planned = plan(root, "me")
    assert [repository.name for repository in planned] == [f"me/{name}" for name in ORDER]
    assert [repository.type for repository in planned] == [TYPES[name] for name in ORDER]
    files = {path: len(content) for path, content in contents(root / "candidates").items()}
    assert (planned[0].files, planned[0].size) == (files, sum(files.values()))


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"stage": "trees"}', '{"published_by": "openprm 1"}'])
def test_a_folder_that_is_no_publication_is_not_sent(root: Path, manifest: str | None):
    (root / "notes").mkdir()
    if manifest is not None:
        (root / "notes" / "manifest.json").write_text(manifest)
    with pytest.raises(InputError, match=r"notes has no manifest\.json of a publication"):
        plan(root, "openprm")


def test_a_file_beside_the_repositories_is_told(root: Path):
    (root / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"notes\.txt is no repository; move it elsewhere"):
        plan(root, "openprm")


def test_names_that_the_hub_does_not_allow_are_refused(root: Path, tmp_path: Path):
    with pytest.raises(InputError, match="cannot be the name of a repository"):
        plan(root, "a b")
    with pytest.raises(InputError, match="there is no repository to publish"):
        plan(tmp_path / "nothing", "openprm")


def test_everything_is_published_in_one_commit_each(root: Path, hub: Hub):
    said: list[str] = []
    sent = publish(root, hub, said, tag="v1")
    assert is_published(hub, root)
    assert [part.repository.name for part in sent] == [f"openprm/{name}" for name in ORDER]
    assert [asked.split("/")[4] for asked in commits(hub)] == ORDER
    for name in KINDS:
        assert titles(hub, name) == ["Publish with openprm 0.1.0", "initial commit"]
        assert published(hub, name, "v1") == contents(root / name)
    assert said[1] == "dataset openprm/trees: 4 files, 4 sent (1.5 MB), 0 unchanged, tag v1"
    assert [part.commit for part in sent] == [
        HfApi(endpoint=hub.endpoint, token=hub.token).repo_info(f"openprm/{n}", repo_type=TYPES[n]).sha for n in ORDER
    ]


def test_publishing_again_sends_nothing(root: Path, hub: Hub):
    publish(root, hub, tag="v1")
    hub.requests.clear()
    said: list[str] = []
    sent = publish(root, hub, said, tag="v1")
    assert {asked.method for asked in hub.requests} == {"GET"}
    assert [(part.sent, part.deleted, part.size) for part in sent] == [((), (), 0)] * len(KINDS)
    assert said[0] == "dataset openprm/candidates: 4 files, nothing to send, 4 unchanged, tag v1"


@pytest.mark.parametrize("path", ["README.md", "data/test-00000.parquet"])
def test_only_what_changed_is_sent(root: Path, hub: Hub, path: str):
    publish(root, hub)
    (root / "trees" / path).write_bytes(b"---\nlicense: apache-2.0\n---\n")
    hub.requests.clear()
    sent = publish(root, hub)
    assert is_published(hub, root)
    assert [part.sent for part in sent if part.repository.kind == "trees"] == [(path,)]
    assert commits(hub) == ["POST /api/datasets/openprm/trees/commit/main"]
    assert hub.sent() < 10_000
    assert len(titles(hub, "trees")) == 3


def test_a_file_that_is_gone_is_deleted_there(root: Path, hub: Hub):
    publish(root, hub)
    (root / "trees" / "data" / "test-00000.parquet").unlink()
    (root / "orm" / ".eval_results" / "tiny.yaml").rename(root / "orm" / "results.yaml")
    hub.requests.clear()
    deleted = {part.repository.name: part.deleted for part in publish(root, hub) if part.deleted}
    assert deleted == {"openprm/trees": ("data/test-00000.parquet",), "openprm/orm": (".eval_results/tiny.yaml",)}
    assert is_published(hub, root)
    assert len(commits(hub)) == 2


@pytest.mark.parametrize("private", [None, True, False])
def test_new_repositories_are_as_visible_as_asked(root: Path, hub: Hub, private: bool | None):
    publish(root, hub, private=private)
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    assert {api.repo_info(f"openprm/{n}", repo_type=TYPES[n]).private for n in KINDS} == {bool(private)}


def test_visibility_is_never_changed_silently(root: Path, hub: Hub):
    publish(root, hub, private=True)
    said: list[str] = []
    publish(root, hub, said, private=False)
    assert "dataset openprm/trees is private and stays so; make it public on its page" in said


def test_what_is_to_be_private_is_not_sent_to_a_public_repository(root: Path, hub: Hub):
    publish(root, hub)
    (root / "trees" / "README.md").write_text("new")
    hub.requests.clear()
    with pytest.raises(InputError, match=r"openprm/candidates is public; .*openprm/trees is public.*Nothing was publ"):
        publish(root, hub, private=True)
    assert not changes(hub)


def test_a_tag_of_the_same_content_stays(root: Path, hub: Hub):
    publish(root, hub, tag="v1")
    old = contents(root / "trees")
    (root / "trees" / "README.md").write_text("new")
    publish(root, hub, tag="v2")
    assert published(hub, "trees", "v1") == old
    (root / "trees" / "README.md").write_bytes(old["README.md"])
    publish(root, hub, tag="v1")  # back to what v1 names
    assert is_published(hub, root)
    assert published(hub, "trees", "v1") == old


def test_a_tag_of_another_content_stops_everything(root: Path, hub: Hub):
    publish(root, hub, tag="v1")
    for name in ("trees", "candidates"):
        (root / name / "README.md").write_text("new")
    hub.requests.clear()
    with pytest.raises(InputError, match=r"openprm/candidates has a tag v1 of another content; .*openprm/trees has a"):
        publish(root, hub, tag="v1")
    with pytest.raises(InputError, match="has a branch main; choose another name for the tag"):
        publish(root, hub, tag="main")
    assert not changes(hub)


OTHERS = [
    b"{}",
    b'{"published_by": "openprm 0.1.0", "kind": "pairs", "files": {}}',
    b'{"published_by": "openprm 0.1.0", "kind": "trees", "files": null}',
]


@pytest.mark.parametrize("files", [{"model.bin": b"1"}, *({"manifest.json": manifest} for manifest in OTHERS)])
def test_a_repository_of_something_else_stops_everything(root: Path, hub: Hub, files: dict[str, bytes]):
    for name in ("trees", "orm"):
        other_repository(hub, name, files)
    hub.requests.clear()
    with pytest.raises(InputError, match=r"openprm/trees holds something else than trees of openprm.*; openprm/orm"):
        publish(root, hub)
    assert not changes(hub)


STUBS = [
    b"",
    b"---\nlicense: mit\n---\n",
    b"---\r\nlicense: mit\r\n---",
    b"---\ntitle: demo\nsdk: gradio\n---\n\nCheck out the configuration reference at https://hub/docs/spaces-config\n",
]


@pytest.mark.parametrize("card", STUBS)
def test_a_repository_that_is_new_may_have_a_card_without_words(root: Path, hub: Hub, card: bytes):
    for name in KINDS:
        other_repository(hub, name, {"README.md": card})
    publish(root, hub)
    assert is_published(hub, root)


@pytest.mark.parametrize("card", [b"# Mine\n", b"---\nlicense: mit\n---\n# Mine\n---\n", b"---\nno end"])
def test_a_card_of_somebodys_own_stops_everything(root: Path, hub: Hub, card: bytes):
    for name in ("trees", "demo"):
        other_repository(hub, name, {"README.md": card})
    hub.requests.clear()
    with pytest.raises(InputError, match=r"openprm/trees holds something else .*\(README\.md\).*; openprm/demo holds"):
        publish(root, hub)
    assert not changes(hub)
    assert published(hub, "trees") == {"README.md": card}


def test_what_others_added_stays_and_is_named(root: Path, hub: Hub):
    publish(root, hub, tag="v1")
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    added = {"LICENSE": b"MIT\n", "notes/new.md": b"hello\n"}
    add(api, "trees", added)
    (root / "trees" / "data" / "test-00000.parquet").unlink()
    write_manifest(root / "trees", "trees")
    said: list[str] = []
    sent = {part.repository.name: part for part in publish(root, hub, said)}
    assert sent["openprm/trees"].deleted == ("data/test-00000.parquet",)
    assert published(hub, "trees") == {**contents(root / "trees"), **added}
    assert [line for line in said if "LICENSE" in line] == [
        "dataset openprm/trees keeps what was not published from here: LICENSE, notes/new.md"
    ]
    hub.requests.clear()
    again = publish(root, hub, said, tag="v2")
    assert not commits(hub)
    assert all(not part.sent and not part.deleted for part in again)
    publish(root, hub, tag="v2")  # the tag's content is this one


def test_a_repository_that_appears_meanwhile_and_is_public_gets_nothing(root: Path, hub: Hub, monkeypatch: Any):
    looks = remote.Remote.obstacles

    def obstacles(self: Any, repository: Any, head: Any) -> list[str]:
        if repository.kind == "trees":
            other_repository(hub, "trees", {})
        return looks(self, repository, head)

    monkeypatch.setattr(remote.Remote, "obstacles", obstacles)
    with pytest.raises(InputError, match=r"openprm/trees is public; .* Published: openprm/candidates"):
        publish(root, hub, private=True)
    assert published(hub, "trees") == {}


def test_tokens_that_may_not_write_are_refused_at_once(root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    def error(**options: Any) -> str:
        with pytest.raises(InputError) as caught:
            publish(root, hub, **options)
        return str(caught.value)

    assert "the Hub does not accept your token; log in again" in error(token="hf_" + "w" * 34)
    assert "openprm: your token may only read; create one" in error(token=hub.read_token)
    assert "openprm is neither you (stranger) nor an organization of yours" in error(token=hub.stranger_token)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "log in with `hf auth login`, or set HF_TOKEN" in error(token=None)
    assert {asked.path for asked in hub.requests} == {"/api/whoami-v2"}


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ([{"entity": {"name": "openprm"}, "permissions": ["repo.write"]}], True),
        ([{"entity": {"name": "openprm/trees"}, "permissions": ["repo.write"]}], True),
        ([{"entity": {"name": "openprm"}, "permissions": ["repo.content.read"]}], False),
        ([{"entity": {"name": "openprm-2"}, "permissions": ["repo.write"]}], False),
        ([], False),
    ],
)
def test_fine_grained_tokens_need_the_right_to_write(scopes: Any, allowed: bool, monkeypatch: pytest.MonkeyPatch):
    api = HfApi(endpoint="http://127.0.0.1:1", token="hf_x")
    access = {"role": "fineGrained", "fineGrained": {"scoped": scopes}}
    monkeypatch.setattr(api, "whoami", lambda: {"name": "openprm", "auth": {"accessToken": access}})
    hub = remote.Remote(api, None, None, print)
    if allowed:
        hub.check_writer("openprm")
    else:
        with pytest.raises(InputError, match="openprm: your token may only read"):
            hub.check_writer("openprm")


def test_a_token_that_a_server_sends_back_is_not_shown(root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    def failing(*_: Any, **__: Any) -> None:
        raise ValueError(f"bad header: Bearer {hub.token}")

    monkeypatch.setattr(HfApi, "create_repo", failing)
    with pytest.raises(InputError, match="Bearer hf_…") as caught:
        publish(root, hub)
    assert hub.token not in str(caught.value)
    assert caught.value.__suppress_context__


REQUESTS = {
    "whoami": r"GET /api/whoami",
    "info": r"GET /api/datasets/openprm/trees(/revision/v1)?$",
    "tree": r"GET /api/datasets/openprm/trees/tree",
    "create": r"POST /api/repos/create",
    "preupload": r"POST .*/trees/preupload",
    "batch": r"POST .*/trees.git/info/lfs",
    "part": r"PUT /storage/.*/parts",
    "whole": r"PUT /storage/[0-9a-f]+$",
    "complete": r"POST /storage/.*/complete",
    "verify": r"POST /api/lfs-verify",
    "card": r"POST /api/validate-yaml",
    "commit": r"POST .*/trees/commit",
    "refs": r"GET .*/trees/refs",
    "tag": r"POST .*/trees/tag",
}


@pytest.mark.parametrize("answer", [500, 429, "drop"])
@pytest.mark.parametrize("request_", REQUESTS)
def test_a_hub_in_trouble_for_a_while_is_waited_for(
    root: Path, hub: Hub, no_waiting: list[float], request_: str, answer: int | str
):
    fault = Fault(REQUESTS[request_], answer, times=3, retry_after=7 if answer == 429 else None)
    hub.faults.append(fault)
    publish(root, hub, tag="v1")
    assert fault.times == 0, "the fault was not met"
    assert is_published(hub, root)
    assert published(hub, "trees", "v1") == contents(root / "trees")
    assert len(titles(hub, "trees")) == 2
    assert sum(no_waiting) < 60
    if answer == 429:
        assert all(wait >= 7 for wait in no_waiting)


@pytest.mark.parametrize("request_", ["whoami", "info", "batch", "whole", "commit", "tag"])
@pytest.mark.parametrize(("answer", "words"), [(500, "is in trouble"), (429, "wait and run"), ("drop", "reach")])
def test_patience_ends(
    root: Path, hub: Hub, no_waiting: list[float], monkeypatch: Any, request_: str, answer: Any, words: str
):
    monkeypatch.setattr(patience, "PATIENCE", 0.5)
    hub.faults.append(Fault(REQUESTS[request_], answer, times=10**6))
    with pytest.raises(InputError, match=words) as caught:
        publish(root, hub, tag="v1")
    assert "\n" not in str(caught.value)
    if request_ in ("whoami", "info"):
        assert str(caught.value).endswith("Nothing was published")
        assert not changes(hub)
    hub.faults.clear()
    publish(root, hub, tag="v1")
    assert is_published(hub, root)


def test_it_is_told_what_is_published_and_what_is_not(root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    hub.faults.append(Fault(r"POST .*/orm/commit", 500))
    with pytest.raises(InputError) as caught:
        publish(root, hub)
    assert str(caught.value) == (
        "openprm/orm: the Hub is in trouble (500: asked for by a test); run the same command again later."
        " Published: openprm/candidates, openprm/trees; not yet: openprm/orm, openprm/best_of_n, openprm/demo"
    )


@pytest.mark.parametrize(
    ("request_", "answer", "words"),
    [
        ("create", 402, "the Hub wants to be paid for this"),
        ("create", 403, "your token may not do this"),
        ("info", 401, "the Hub does not accept your token"),
        ("preupload", 404, "it is gone, or your token may not see it"),
        ("commit", 413, "the Hub takes nothing as large as this at once"),
        ("whole", 507, "no room left on the Hub"),
        ("batch", 403, "your token may not do this"),
    ],
)
def test_answers_that_stay_are_told_in_a_line(root: Path, hub: Hub, request_: str, answer: int, words: str):
    hub.faults.append(Fault(REQUESTS[request_], answer))
    with pytest.raises(InputError, match=words) as caught:
        publish(root, hub)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("openprm/")


def test_a_full_disk_here_is_told(root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(HfApi, "preupload_lfs_files", full)
    with pytest.raises(InputError, match=r"openprm/candidates: no space left on this machine .* HF_HOME"):
        publish(root, hub)


def test_a_hub_that_is_not_there_is_told_soon(root: Path, hub: Hub, no_waiting: list[float], monkeypatch: Any):
    monkeypatch.setattr(patience, "FIRST_CONTACT", 0.5)
    monkeypatch.setattr(remote, "FIRST_CONTACT", 0.5)
    with pytest.raises(InputError, match=r"openprm: the Hub cannot be reached \(.*HF_ENDPOINT.*Nothing was published"):
        publish(root, hub, endpoint="http://127.0.0.1:1")


def test_a_client_that_is_told_to_stay_offline_says_so(root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="unset HF_HUB_OFFLINE"):
        publish(root, hub)


def after(function: Callable[..., Any], then: Callable[[], Any]) -> Callable[..., Any]:
    """Does something else the first time, when the function is done."""
    left = [then]

    def wrapped(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if left:
            left.pop()()
        return result

    return wrapped


@pytest.mark.parametrize("status", [None, 502])
def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    root: Path, hub: Hub, no_waiting: list[float], monkeypatch: pytest.MonkeyPatch, status: int | None
):
    def lose() -> None:
        raise ConnectionError("lost") if status is None else json.JSONDecodeError("a page of error", "<html>", 0)

    monkeypatch.setattr(HfApi, "create_commit", after(HfApi.create_commit, lose))
    publish(root, hub)
    assert is_published(hub, root)
    assert all(len(titles(hub, name)) == 2 for name in KINDS)
    assert not no_waiting


def test_a_change_by_somebody_else_meanwhile_is_not_overwritten(root: Path, hub: Hub, monkeypatch: Any):
    publish(root, hub)
    (root / "trees" / "README.md").write_text("new")
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    with monkeypatch.context() as patched:
        meanwhile = after(HfApi.preupload_lfs_files, lambda: add(api, "trees", {"README.md": b"theirs\n"}))
        patched.setattr(HfApi, "preupload_lfs_files", meanwhile)
        with pytest.raises(InputError, match="openprm/trees was changed by somebody else meanwhile, and"):
            publish(root, hub)
    assert published(hub, "trees")["README.md"] == b"theirs\n"
    publish(root, hub)
    assert is_published(hub, root)


def test_a_repository_that_appears_meanwhile_is_not_overwritten(root: Path, hub: Hub, monkeypatch: Any):
    looks = remote.Remote.obstacles

    def obstacles(self: Any, repository: Any, head: Any) -> list[str]:
        if repository.kind == "trees":
            other_repository(hub, "trees", {"theirs.txt": b"1"})
        return looks(self, repository, head)

    monkeypatch.setattr(remote.Remote, "obstacles", obstacles)
    with pytest.raises(InputError, match=r"openprm/trees holds something else .* Published: openprm/candidates"):
        publish(root, hub)
    assert published(hub, "trees") == {"theirs.txt": b"1"}


def test_a_tag_that_appears_meanwhile_is_not_taken_for_ours(root: Path, hub: Hub, monkeypatch: Any):
    def tag_the_first_commit() -> None:
        api = HfApi(endpoint=hub.endpoint, token=hub.token)
        first = api.list_repo_commits("openprm/candidates", repo_type="dataset")[-1].commit_id
        api.create_tag("openprm/candidates", tag="v1", revision=first, repo_type="dataset")

    create_tag = HfApi.create_tag

    def late(api: HfApi, *arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(HfApi, "create_tag", create_tag)
        tag_the_first_commit()
        create_tag(api, *arguments, **options)

    monkeypatch.setattr(HfApi, "create_tag", late)
    with pytest.raises(InputError, match="openprm/candidates has a tag v1 of another content"):
        publish(root, hub, tag="v1")


def test_two_at_once_make_one_commit(root: Path, hub: Hub, no_waiting: list[float]):
    done: list[list[Sent]] = []
    threads = [threading.Thread(target=lambda: done.append(publish(root, hub))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 2
    assert is_published(hub, root)
    assert all(len(titles(hub, name)) == 2 for name in KINDS)


PROGRAM = """
import sys
from pathlib import Path
from openprm.push.upload import upload
upload(Path(sys.argv[1]), "openprm", private=None, tag=sys.argv[2])
"""


def start(root: Path, hub: Hub, home: Path, tag: str = "v1", xet: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(root), tag]
    return subprocess.Popen(
        command, env=hub.environment(home, xet=xet), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(*arguments: Any, **options: Any) -> str:
    with start(*arguments, **options) as process:
        output = process.communicate()[0]
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
def test_it_goes_through_xet(root: Path, hub: Hub, tmp_path: Path):
    output = run(root, hub, tmp_path / "home", xet=True)
    assert "dataset openprm/trees: 4 files, 4 sent (1.5 MB)" in output
    assert is_published(hub, root)
    assert any("xet-write-token" in asked.path for asked in hub.requests)
    assert not any(asked.method == "PUT" for asked in hub.requests)
    hub.requests.clear()
    assert "nothing to send" in run(root, hub, tmp_path / "home", xet=True)
    assert {asked.method for asked in hub.requests} == {"GET"}


@pytest.mark.slow
def test_a_refusal_of_xet_is_told(root: Path, hub: Hub, tmp_path: Path):
    hub.faults.append(Fault("GET .*/trees/xet-write-token", 403, times=100))
    with start(root, hub, tmp_path / "home", xet=True) as process:
        output = process.communicate()[0]
    assert process.returncode == 1
    assert "openprm/trees: your token may not do this; use one that may write to the owner's repositories" in output
    assert "Published: openprm/candidates; not yet: openprm/trees, openprm/orm" in output


@pytest.mark.slow
def test_the_token_is_written_nowhere(root: Path, hub: Hub, tmp_path: Path):
    hub.faults.append(Fault("POST .*/commit", 500))
    output = run(root, hub, tmp_path / "home")
    assert hub.token not in output
    written = [*(tmp_path / "home").rglob("*"), *(hub.store.root).rglob("*"), *root.rglob("*")]
    assert not any(hub.token.encode() in path.read_bytes() for path in written if path.is_file())


@contextmanager
def kill_at(at: int, done: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[str]]]:
    """Kills the process that is put into the list while its request of this number waits, done or not yet."""
    victim: list[subprocess.Popen[str]] = []
    numbers = count(1)
    name = "_send" if done else "_routed"
    go_on = getattr(Handler, name)

    def watched(self: Handler, *arguments: Any) -> Any:
        if next(numbers) == at:
            victim[0].kill()
            victim[0].wait()
            raise ConnectionError("the client was killed")
        return go_on(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Handler, name, watched)
        yield victim


@pytest.mark.slow
@pytest.mark.parametrize("xet", [False, True])
def test_a_killed_upload_leaves_whole_repositories_and_is_finished_by_the_next(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xet: bool
):
    """Killed while the kth request waits for its answer, with the request done or not, for ten values of k."""
    old = shutil.copytree(root, tmp_path / "old")
    new = shutil.copytree(root, tmp_path / "new")
    for name, kind in KINDS.items():
        (new / name / "README.md").write_text(f"---\nlicense: mit\n---\n# {name}, anew\n")
        for path in new.joinpath(name).rglob("*.parquet"):
            path.write_bytes(path.read_bytes()[::-1])
        write_manifest(new / name, kind)
    (new / "trees" / "data" / "test-00000.parquet").unlink()

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with Hub(tmp_path / "whole") as hub:
        publish(old, hub, tag="v1")
        before = len(hub.requests)
        run(new, hub, tmp_path / "home", "v2", xet)
        asked = len(hub.requests) - before
    for moment in range(10):
        at = 1 + moment * (asked - 1) // 9
        with Hub(tmp_path / f"hub{moment}") as hub:
            publish(old, hub, tag="v1")
            with kill_at(at, moment % 2 == 1, monkeypatch) as victim:
                victim.append(start(new, hub, tmp_path / "home", "v2", xet))
                assert victim[0].wait() == -signal.SIGKILL, f"request {at} of {asked}"
            for name in KINDS:
                assert published(hub, name) in (contents(old / name), contents(new / name)), (at, name)
            stored = {path.name for path in (hub.store.root / "blobs").iterdir()}
            hub.requests.clear()
            run(new, hub, tmp_path / "home", "v2", xet)
            assert is_published(hub, new)
            for name in KINDS:
                assert published(hub, name, "v1") == contents(old / name)
                assert published(hub, name, "v2") == contents(new / name)
                assert len(titles(hub, name)) == 3
            again = {put.path.split("/")[2] for put in hub.requests if put.method == "PUT"}
            assert not again & stored, f"killed at request {at}: sent again"


@pytest.mark.parametrize("tag", ["v 2", "", "-v", "a..b", "a/../b", "v1."])
def test_what_cannot_be_a_tag_is_refused_before_anybody_is_asked(laid_out: Path, tag: str):
    with pytest.raises(InputError, match="cannot be a tag"):
        upload(laid_out, "openprm", private=None, tag=tag, token="hf_x", endpoint="http://127.0.0.1:9")
