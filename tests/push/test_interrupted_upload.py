"""A Hub in trouble, others at work, a killed process: repositories stay whole, and the same command finishes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import count, cycle
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from openprm.errors import InputError
from tests.local_hub import Fault, Hub
from tests.local_hub.server import Handler
from tests.push.uploads import (
    ORDER,
    add,
    change_card,
    contents,
    is_published,
    other_repository,
    publish,
    published,
    titles,
)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What our own loop and the client's would have waited."""
    waits: list[float] = []
    for module in ("openprm.push.upload.time", "huggingface_hub.utils._http.time"):
        monkeypatch.setattr(f"{module}.sleep", waits.append)
    return waits


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
    root: Path, hub: Hub, waits: list[float], request_: str, answer: int | str
):
    fault = Fault(REQUESTS[request_], answer, times=3)
    hub.faults.append(fault)
    publish(root, hub, tag="v1")
    assert fault.times == 0, "the fault was not met"
    assert is_published(hub, root)
    assert published(hub, "trees", "v1") == contents(root / "trees")
    assert len(titles(hub, "trees")) == 2
    assert sum(waits) < 60


@pytest.mark.parametrize(
    ("request_", "answer", "words"),
    [
        ("whoami", "drop", "cannot be reached.*Nothing was published"),
        ("info", 429, "wait and run.*Nothing was published"),
        (
            "commit",
            500,
            "is in trouble.*Published: openprm/candidates; not yet: openprm/trees, openprm/labels, openprm/pairs",
        ),
    ],
)
def test_retrying_ends_and_the_same_command_finishes(
    root: Path, hub: Hub, waits: list[float], request_: str, answer: Any, words: str
):
    hub.faults.append(Fault(REQUESTS[request_], answer, times=10**6))
    with pytest.raises(InputError, match=words) as caught:
        publish(root, hub, tag="v1")
    assert "\n" not in str(caught.value)
    assert sum(waits) < (30 if request_ == "whoami" else 400)
    hub.faults.clear()
    publish(root, hub, tag="v1")
    assert is_published(hub, root)
    assert all(len(titles(hub, name)) == 2 for name in ORDER)


@pytest.mark.parametrize(
    ("request_", "answer", "words"),
    [("create", 403, "you may not do this"), ("whole", 507, "no space left for this owner on the Hub")],
)
def test_answers_that_stay_are_not_retried(
    root: Path, hub: Hub, waits: list[float], request_: str, answer: int, words: str
):
    hub.faults.append(Fault(REQUESTS[request_], answer))
    with pytest.raises(InputError, match=f"openprm/candidates: {words}"):
        publish(root, hub)
    assert not waits


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
    root: Path, hub: Hub, waits: list[float], monkeypatch: pytest.MonkeyPatch
):
    def lose() -> None:
        raise json.JSONDecodeError("a page of error", "<html>", 0)

    monkeypatch.setattr(HfApi, "create_commit", after(HfApi.create_commit, lose))
    publish(root, hub)
    assert is_published(hub, root)
    assert all(len(titles(hub, name)) == 2 for name in ORDER)


def test_a_card_edited_while_publishing_is_not_overwritten(root: Path, hub: Hub, waits: list[float], monkeypatch: Any):
    publish(root, hub)
    change_card(root, "trees", "new")
    with monkeypatch.context() as patched:
        meanwhile = after(HfApi.preupload_lfs_files, lambda: add(hub, "trees", {"README.md": b"theirs\n"}), skip=1)
        patched.setattr(HfApi, "preupload_lfs_files", meanwhile)
        with pytest.raises(
            InputError, match=r"README\.md of openprm/trees was edited .*Published: openprm/candidates"
        ):
            publish(root, hub)
    assert published(hub, "trees")["README.md"] == b"theirs\n"


def test_a_repository_that_appears_meanwhile_is_not_overwritten(root: Path, hub: Hub, monkeypatch: Any):
    theirs = after(HfApi.create_repo, lambda: other_repository(hub, "trees", {"theirs.txt": b"1"}))
    monkeypatch.setattr(HfApi, "create_repo", theirs)
    with pytest.raises(InputError, match=r"openprm/trees holds something else .* Published: openprm/candidates"):
        publish(root, hub)
    assert published(hub, "trees") == {"theirs.txt": b"1"}


def test_two_at_once_make_one_commit(root: Path, hub: Hub, waits: list[float]):
    done: list[dict[str, str]] = []
    threads = [threading.Thread(target=lambda: done.append(publish(root, hub))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 2
    assert is_published(hub, root)
    assert all(len(titles(hub, name)) == 2 for name in ORDER)


PROGRAM = """
import sys
from pathlib import Path
from openprm.push.preflight import laid_out
from openprm.push.upload import upload
upload(laid_out(Path(sys.argv[1])), private=None, tag="v2")
"""


@pytest.mark.slow
def test_a_killed_upload_leaves_whole_repositories_and_is_finished_by_the_same_command(
    root: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Killed while the commit of the second repository waits for its answer."""
    old = shutil.copytree(root, tmp_path / "old")
    publish(old, hub, tag="v1")
    for name in ORDER:
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
    assert whole == [True, True, *[False] * (len(ORDER) - 2)]
    assert all(published(hub, name) == contents(old / name) for name in ORDER[2:])
    publish(root, hub, tag="v2")
    assert is_published(hub, root)
    for name in ORDER:
        assert published(hub, name, "v1") == contents(old / name)
        assert published(hub, name, "v2") == contents(root / name)
        assert len(titles(hub, name)) == 3
