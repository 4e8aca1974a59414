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
from itertools import count, cycle
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from openprm.push import retry
from openprm.push.repositories import repositories
from openprm.push.upload import upload

from openprm.errors import InputError
from tests.local_hub import Fault, Hub
from tests.local_hub.server import Handler

KINDS = {"orm": "model", "trees": "trees", "demo": "demo", "candidates": "candidates"}
ORDER = ["candidates", "trees", "orm", "demo"]
TYPES = {"orm": "model", "trees": "dataset", "demo": "space", "candidates": "dataset"}


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


def change_card(root: Path, name: str, text: str) -> None:
    (root / name / "README.md").write_text(text)
    write_manifest(root / name, KINDS[name])


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


def publish(root: Path, hub: Hub, said: list[str] | None = None, **options: Any) -> dict[str, str]:
    asked = {"private": None, "tag": None, "token": hub.token, "endpoint": hub.endpoint, **options}
    return upload(repositories(root, "openprm"), say=(said if said is not None else []).append, **asked)


def published(hub: Hub, name: str, revision: str = "main") -> dict[str, bytes]:
    """The files of a repository, read past the server, without the Hub's own."""
    folder = hub.store.root / "repos" / f"{TYPES[name]}s" / "openprm" / name
    info = json.loads((folder / "repo.json").read_bytes())
    commit = info["branches"].get(revision) or info["tags"].get(revision)
    files = json.loads((folder / "commits" / f"{commit}.json").read_bytes())["files"]
    blobs = hub.store.root / "blobs"
    return {path: (blobs / file["sha256"]).read_bytes() for path, file in files.items() if path != ".gitattributes"}


def titles(hub: Hub, name: str) -> list[str]:
    """Of the commits, the newest first."""
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    return [c.title for c in api.list_repo_commits(f"openprm/{name}", repo_type=TYPES[name])]


def is_published(hub: Hub, root: Path) -> bool:
    return all(published(hub, name) == contents(root / name) for name in KINDS)


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


@contextmanager
def refused(hub: Hub, message: str) -> Iterator[None]:
    """An InputError, before anything is changed."""
    hub.requests.clear()
    with pytest.raises(InputError, match=message):
        yield
    assert not changes(hub)


def other_repository(hub: Hub, name: str, files: dict[str, bytes]) -> None:
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    api.create_repo(f"openprm/{name}", repo_type=TYPES[name], space_sdk="gradio" if TYPES[name] == "space" else None)
    add(hub, name, files)


def add(hub: Hub, name: str, files: dict[str, bytes]) -> None:
    """As a person does on the Hub's pages."""
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    api.create_commit(f"openprm/{name}", operations, commit_message="Other", repo_type=TYPES[name])


def test_a_plan_says_what_goes_where_in_order(root: Path):
    planned = repositories(root, "me")
    assert [repository.name for repository in planned] == [f"me/{name}" for name in ORDER]
    assert [repository.type for repository in planned] == [TYPES[name] for name in ORDER]
    files = {path: len(content) for path, content in contents(root / "candidates").items()}
    assert (planned[0].files, planned[0].size) == (files, sum(files.values()))


def test_what_is_no_repository_is_not_sent(root: Path, tmp_path: Path):
    with pytest.raises(InputError, match="cannot be the name of a repository"):
        repositories(root, "a b")
    with pytest.raises(InputError, match="there is no repository to publish"):
        repositories(tmp_path / "nothing", "openprm")
    (root / "notes").mkdir()
    with pytest.raises(InputError, match=r"notes was not published by openprm: it has no manifest\.json"):
        repositories(root, "openprm")
    (root / "notes").rmdir()
    (root / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"notes\.txt is not a repository; move it elsewhere"):
        repositories(root, "openprm")


def test_everything_is_published_in_one_commit_each_and_only_once(root: Path, hub: Hub):
    said: list[str] = []
    done = publish(root, hub, said, tag="v1")
    assert is_published(hub, root)
    assert [*done] == [f"openprm/{name}" for name in ORDER]
    assert [asked.split("/")[4] for asked in commits(hub)] == ORDER
    for name in KINDS:
        assert titles(hub, name) == ["Publish with openprm 0.1.0", "initial commit"]
        assert published(hub, name, "v1") == contents(root / name)
    assert said[1] == "dataset openprm/trees: 4 files, published (1.5 MB), tag v1"
    assert publish(root, hub, said, tag="v1") == done
    assert said[5] == "dataset openprm/trees: 4 files, unchanged, tag v1"
    assert len(commits(hub)) == len(KINDS)


def test_only_what_changed_is_sent_and_what_is_gone_is_deleted(root: Path, hub: Hub):
    publish(root, hub)
    (root / "trees" / "data" / "test-00000.parquet").unlink()
    (root / "orm" / ".eval_results" / "tiny.yaml").rename(root / "orm" / "results.yaml")
    write_manifest(root / "orm", "model")
    change_card(root, "trees", "---\nlicense: apache-2.0\n---\n")
    hub.requests.clear()
    publish(root, hub)
    assert is_published(hub, root)
    assert [asked.split("/")[4] for asked in commits(hub)] == ["trees", "orm"]
    assert hub.sent() < 10_000


@pytest.mark.parametrize("private", [None, True])
def test_new_repositories_are_as_visible_as_asked(root: Path, hub: Hub, private: bool | None):
    publish(root, hub, private=private)
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    assert {api.repo_info(f"openprm/{n}", repo_type=TYPES[n]).private for n in KINDS} == {bool(private)}
    if not private:
        with refused(hub, r"openprm/candidates is public; .*openprm/trees is public.*Nothing was published"):
            publish(root, hub, private=True)


def test_a_tag_stays_with_its_content(root: Path, hub: Hub):
    publish(root, hub, tag="v1")
    old = contents(root / "trees")
    for name in ("trees", "candidates"):
        change_card(root, name, "new")
    with refused(hub, r"openprm/candidates has a tag v1 of other content; .*openprm/trees has a tag"):
        publish(root, hub, tag="v1")
    with refused(hub, "has a branch main; choose another name for the tag"):
        publish(root, hub, tag="main")
    publish(root, hub, tag="v2")
    for name in ("trees", "candidates"):
        change_card(root, name, f"---\nlicense: mit\n---\n# {name}\n")
    publish(root, hub, tag="v1")  # back to what v1 names
    assert is_published(hub, root)
    assert published(hub, "trees", "v1") == old


@pytest.mark.parametrize("tag", ["v 2", "", "-v", "a..b", "a/../b", "v1."])
def test_what_cannot_be_a_tag_is_refused_before_anything_is_asked(laid_out: Path, tag: str):
    planned = repositories(laid_out, "openprm")
    with pytest.raises(InputError, match="cannot be a tag"):
        upload(planned, private=None, tag=tag, token="hf_x", endpoint="http://127.0.0.1:9")


OTHERS = [
    {"model.bin": b"1"},
    {"manifest.json": b"{}"},
    {"manifest.json": b'{"published_by": "openprm 0.1.0", "kind": "pairs", "files": {}}'},
]


@pytest.mark.parametrize("files", OTHERS)
def test_a_repository_of_something_else_stops_everything(root: Path, hub: Hub, files: dict[str, bytes]):
    for name in ("trees", "orm"):
        other_repository(hub, name, files)
    with refused(hub, r"openprm/trees holds something else than trees of openprm.*; openprm/orm"):
        publish(root, hub)


NEW_CARDS = [
    b"",
    b"---\r\nlicense: mit\r\n---",
    b"---\ntitle: demo\nsdk: gradio\n---\n\nCheck out the configuration reference at https://hub/docs/spaces-config\n",
]


@pytest.mark.parametrize("card", NEW_CARDS)
def test_the_card_of_a_new_repository_is_replaced(root: Path, hub: Hub, card: bytes):
    for name in KINDS:
        other_repository(hub, name, {"README.md": card})
    publish(root, hub)
    assert is_published(hub, root)


@pytest.mark.parametrize("card", [b"# Mine\n", b"---\nlicense: mit\n---\n# Mine\n---\n", b"---\nno end"])
def test_a_card_that_a_person_wrote_first_is_not_overwritten(root: Path, hub: Hub, card: bytes):
    other_repository(hub, "trees", {"README.md": card})
    with refused(hub, r"the README\.md of openprm/trees was edited on the Hub"):
        publish(root, hub)
    publish(root, hub, overwrite_card=True)
    assert is_published(hub, root)


@pytest.mark.parametrize("is_new", [False, True])
def test_a_card_edited_on_the_hub_is_not_overwritten(root: Path, hub: Hub, is_new: bool):
    """Whether or not there is anything new to publish."""
    publish(root, hub)
    edit = b"---\nlicense: mit\nextra_gated_prompt: Agree\n---\n# trees\n"
    add(hub, "trees", {"README.md": edit})
    if is_new:
        change_card(root, "trees", "---\nlicense: mit\n---\n# trees, second edition\n")
    with refused(hub, r"the README\.md of openprm/trees was edited .* --overwrite-card.*Nothing was"):
        publish(root, hub)
    assert published(hub, "trees")["README.md"] == edit
    publish(root, hub, overwrite_card=True)
    assert is_published(hub, root)
    publish(root, hub)


def test_a_card_edited_while_publishing_is_not_overwritten(root: Path, hub: Hub, monkeypatch: Any):
    publish(root, hub)
    change_card(root, "trees", "new")
    with monkeypatch.context() as patched:
        meanwhile = after(HfApi.preupload_lfs_files, lambda: add(hub, "trees", {"README.md": b"theirs\n"}), skip=1)
        patched.setattr(HfApi, "preupload_lfs_files", meanwhile)
        patched.setattr(retry.time, "sleep", lambda _: None)
        with pytest.raises(
            InputError, match=r"README\.md of openprm/trees was edited .*Published: openprm/candidates"
        ):
            publish(root, hub)
    assert published(hub, "trees")["README.md"] == b"theirs\n"


def test_what_others_added_stays_and_is_named(root: Path, hub: Hub):
    publish(root, hub)
    added = {"LICENSE": b"MIT\n", "notes/new.md": b"hello\n"}
    add(hub, "trees", added)
    (root / "trees" / "data" / "test-00000.parquet").unlink()
    write_manifest(root / "trees", "trees")
    said: list[str] = []
    publish(root, hub, said, tag="v2")
    assert published(hub, "trees") == {**contents(root / "trees"), **added}
    assert "dataset openprm/trees keeps what was not published from here: LICENSE, notes/new.md" in said
    hub.requests.clear()
    publish(root, hub, tag="v2")
    assert not commits(hub)


def test_tokens_that_may_not_write_are_refused_at_once(root: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    def error(**options: Any) -> str:
        with pytest.raises(InputError) as caught:
            publish(root, hub, **options)
        return str(caught.value)

    assert "the Hub does not accept your token; log in again" in error(token="hf_" + "w" * 34)
    assert "openprm: your token may only read; use one" in error(token=hub.read_token)
    assert "openprm is neither you (other) nor an organization of yours" in error(token=hub.other_token)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "log in with `hf auth login`, or set HF_TOKEN" in error(token=None)
    assert {asked.path for asked in hub.requests} == {"/api/whoami-v2"}


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
    "create": r"POST /api/repos/create",
    "preupload": r"POST .*/trees/preupload",
    "batch": r"POST .*/trees.git/info/lfs",
    "whole": r"PUT /storage/[0-9a-f]+$",
    "card": r"POST /api/validate-yaml",
    "commit": r"POST .*/trees/commit",
    "refs": r"GET .*/trees/refs",
    "tag": r"POST .*/trees/tag",
}


@pytest.mark.parametrize(("request_", "answer"), zip(REQUESTS, cycle([500, 429, "drop"])))
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


@pytest.mark.parametrize(
    ("request_", "answer", "words"),
    [
        ("whoami", "drop", "cannot be reached.*Nothing was published"),
        ("info", 429, "wait and run.*Nothing was published"),
        ("commit", 500, "is in trouble.*Published: openprm/candidates; not yet: openprm/trees, openprm/orm"),
    ],
)
def test_retrying_ends_and_the_same_command_finishes(
    root: Path, hub: Hub, no_waiting: list[float], monkeypatch: Any, request_: str, answer: Any, words: str
):
    monkeypatch.setattr(retry, "RETRIES", 1)
    hub.faults.append(Fault(REQUESTS[request_], answer, times=10**6))
    with pytest.raises(InputError, match=words) as caught:
        publish(root, hub, tag="v1")
    assert "\n" not in str(caught.value)
    hub.faults.clear()
    publish(root, hub, tag="v1")
    assert is_published(hub, root)
    assert all(len(titles(hub, name)) == 2 for name in KINDS)


@pytest.mark.parametrize(
    ("request_", "answer", "words"),
    [
        ("create", 402, "the Hub asks for payment"),
        ("create", 403, "you may not do this"),
        ("info", 401, "the Hub does not accept your token"),
        ("preupload", 404, "it does not exist, or your token may not see it"),
        ("commit", 413, "this is too large for the Hub"),
        ("whole", 507, "no space left for this owner on the Hub"),
    ],
)
def test_answers_that_stay_are_told_in_a_line(root: Path, hub: Hub, request_: str, answer: int, words: str):
    hub.faults.append(Fault(REQUESTS[request_], answer))
    with pytest.raises(InputError, match=words) as caught:
        publish(root, hub)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("openprm/")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), r"no space left on this machine .* HF_HOME"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no space left on this machine"),
        (
            ConnectionError("Network error: HTTP status client error (403 Forbidden), domain: http://hub/xet"),
            "you may not do this",
        ),
    ],
)
def test_what_stays_wrong_here_or_in_xet_is_told(root: Path, hub: Hub, monkeypatch: Any, error: Any, words: str):
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(HfApi, "preupload_lfs_files", fail)
    with pytest.raises(InputError, match=f"openprm/candidates: {words}"):
        publish(root, hub)


def test_a_hub_that_is_not_there_or_may_not_be_asked_is_told(root: Path, hub: Hub, no_waiting: Any, monkeypatch: Any):
    with pytest.raises(InputError, match=r"openprm: the Hub cannot be reached \(.*HF_ENDPOINT.*Nothing was published"):
        publish(root, hub, endpoint="http://127.0.0.1:1")
    assert sum(no_waiting) < 20
    no_waiting.clear()
    hub.faults.append(Fault("GET /api/whoami", 429, retry_after=86400))
    with pytest.raises(InputError, match="429"):  # asked to wait for a day
        publish(root, hub)
    assert not no_waiting
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="unset HF_HUB_OFFLINE"):
        publish(root, hub)


def after(function: Callable[..., Any], then: Callable[[], Any], skip: int = 0) -> Callable[..., Any]:
    """Does something else once, when the function is done for the first time (or after `skip` more times)."""
    calls = count()

    def wrapped(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if next(calls) == skip:
            then()
        return result

    return wrapped


def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    root: Path, hub: Hub, no_waiting: list[float], monkeypatch: pytest.MonkeyPatch
):
    def lose() -> None:
        raise json.JSONDecodeError("a page of error", "<html>", 0)

    monkeypatch.setattr(HfApi, "create_commit", after(HfApi.create_commit, lose))
    publish(root, hub)
    assert is_published(hub, root)
    assert all(len(titles(hub, name)) == 2 for name in KINDS)


def test_a_repository_that_appears_meanwhile_is_not_overwritten(root: Path, hub: Hub, monkeypatch: Any):
    theirs = after(HfApi.create_repo, lambda: other_repository(hub, "trees", {"theirs.txt": b"1"}))
    monkeypatch.setattr(HfApi, "create_repo", theirs)
    with pytest.raises(InputError, match=r"openprm/trees holds something else .* Published: openprm/candidates"):
        publish(root, hub)
    assert published(hub, "trees") == {"theirs.txt": b"1"}


def test_two_at_once_make_one_commit(root: Path, hub: Hub, no_waiting: list[float]):
    done: list[dict[str, str]] = []
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
from openprm.push.repositories import repositories
from openprm.push.upload import upload
upload(repositories(Path(sys.argv[1]), "openprm"), private=None, tag="v2")
"""


@pytest.mark.slow
def test_a_killed_upload_leaves_whole_repositories_and_is_finished_by_the_same_command(
    root: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Killed while the commit of the second repository waits for its answer."""
    old = shutil.copytree(root, tmp_path / "old")
    publish(old, hub, tag="v1")
    for name in KINDS:
        for path in (root / name).rglob("*.parquet"):
            path.write_bytes(path.read_bytes()[::-1])
        change_card(root, name, f"---\nlicense: mit\n---\n# {name}, second edition\n")
    proceed, victim = Handler._send, []

    def kill(self: Handler, reply: Any) -> None:
        if victim and "/trees/commit/" in self.path:
            victim[0].kill()
            victim.pop().wait()
            raise ConnectionError("the client was killed")
        proceed(self, reply)

    monkeypatch.setattr(Handler, "_send", kill)
    environment = hub.environment(tmp_path / "home")
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(root)], env=environment)
    victim.append(process)
    assert process.wait() == -signal.SIGKILL
    whole = [published(hub, name) == contents(root / name) for name in ORDER]
    assert whole == [True, True, False, False]
    assert all(published(hub, name) == contents(old / name) for name in ORDER[2:])
    publish(root, hub, tag="v2")
    assert is_published(hub, root)
    for name in KINDS:
        assert published(hub, name, "v1") == contents(old / name)
        assert published(hub, name, "v2") == contents(root / name)
        assert len(titles(hub, name)) == 3
