"""Publishing to a Hub with the real client: what is sent, and what is refused before anything is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from openprm.push.preflight import laid_out
from openprm.push.upload import upload

from openprm.errors import InputError
from tests.local_hub import Hub
from tests.publication import change_manifest, list_files
from tests.push.uploads import (
    ORDER,
    TYPES,
    add,
    api,
    change_card,
    contents,
    is_published,
    other_repository,
    publish,
    published,
    titles,
)


def changes(hub: Hub) -> list[str]:
    """The requests that change anything."""
    harmless = ("/preupload/", "/lfs/objects/batch", "/validate-yaml")
    return [
        f"{asked.method} {asked.path}"
        for asked in hub.requests
        if asked.method not in ("GET", "HEAD") and not any(part in asked.path for part in harmless)
    ]


def commits(hub: Hub) -> list[str]:
    """The repositories that were committed to."""
    return [asked.split("/")[4] for asked in changes(hub) if "/commit/" in asked]


@contextmanager
def refused(hub: Hub, message: str) -> Iterator[None]:
    """An InputError, before anything is changed."""
    hub.requests.clear()
    with pytest.raises(InputError, match=message):
        yield
    assert not changes(hub)


def test_everything_is_published_in_one_commit_each_and_only_once(root: Path, hub: Hub):
    said: list[str] = []
    done = publish(root, hub, said, tag="v1")
    assert is_published(hub, root)
    assert [*done] == [f"openprm/{name}" for name in ORDER]
    assert commits(hub) == ORDER
    for name in ORDER:
        assert titles(hub, name) == ["Publish with openprm 0.1.0", "initial commit"]
        assert published(hub, name, "v1") == contents(root / name)
    size = sum(map(len, contents(root / "trees").values())) / 1e6
    assert said[1] == f"dataset openprm/trees: 6 files, published ({size:.1f} MB), tag v1"
    assert publish(root, hub, said, tag="v1") == done
    assert said[7] == "dataset openprm/trees: 6 files, unchanged, tag v1"
    assert len(commits(hub)) == len(ORDER)


def test_only_what_changed_is_sent_and_what_is_gone_is_deleted(root: Path, hub: Hub):
    publish(root, hub)
    (root / "trees" / "data" / "test-00000.parquet").unlink()
    (root / "prm" / ".eval_results" / "best_of_n.yaml").rename(root / "prm" / "results.yaml")
    list_files(root / "prm")
    change_card(root, "trees", "---\nlicense: apache-2.0\n---\n")
    hub.requests.clear()
    publish(root, hub)
    assert is_published(hub, root)
    assert commits(hub) == ["trees", "prm"]
    assert hub.sent() < 30_000


@pytest.mark.parametrize("private", [None, True])
def test_new_repositories_are_as_visible_as_asked(root: Path, hub: Hub, private: bool | None):
    publish(root, hub, private=private)
    assert {api(hub).repo_info(f"openprm/{n}", repo_type=TYPES[n]).private for n in ORDER} == {bool(private)}
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
        change_card(root, name, published(hub, name, "v1")["README.md"].decode())
        (root / name / "manifest.json").write_bytes(published(hub, name, "v1")["manifest.json"])
    publish(root, hub, tag="v1")  # back to what v1 names
    assert is_published(hub, root)
    assert published(hub, "trees", "v1") == old


@pytest.mark.parametrize("tag", ["v 2", "", "-v", "a..b", "a/../b", "v1."])
def test_what_cannot_be_a_tag_is_refused_before_anything_is_asked(layout: Path, tag: str):
    with pytest.raises(InputError, match="cannot be a tag"):
        upload(laid_out(layout), private=None, tag=tag, token="hf_x", endpoint="http://127.0.0.1:9")


OTHERS = [
    {"model.bin": b"1"},
    {"manifest.json": b"{}"},
    {"manifest.json": b'{"published_by": "openprm 0.1.0", "kind": "policy", "files": {}}'},
]


@pytest.mark.parametrize("files", OTHERS)
def test_a_repository_of_something_else_stops_everything(root: Path, hub: Hub, files: dict[str, bytes]):
    for name in ("trees", "prm"):
        other_repository(hub, name, files)
    with refused(hub, r"openprm/trees holds something else than trees of openprm.*; openprm/prm"):
        publish(root, hub)


NEW_CARDS = [
    b"",
    b"---\r\nlicense: mit\r\n---",
    b"---\ntitle: demo\nsdk: gradio\n---\n\nCheck out the configuration reference at https://hub/docs/spaces-config\n",
]


@pytest.mark.parametrize("card", NEW_CARDS)
def test_the_card_of_a_new_repository_is_replaced(root: Path, hub: Hub, card: bytes):
    for name in ORDER:
        other_repository(hub, name, {"README.md": card})
    publish(root, hub)
    assert is_published(hub, root)


@pytest.mark.parametrize("card", [b"# Mine\n", b"---\nlicense: mit\n---\n# Mine\n---\n", b"---\nno end"])
def test_a_card_that_a_person_wrote_first_is_not_overwritten(root: Path, hub: Hub, card: bytes):
    other_repository(hub, "trees", {"README.md": card})
    with refused(hub, r"the README\.md of openprm/trees was edited on the Hub"):
        publish(root, hub)
    publish(root, hub, overwrite=True)
    assert is_published(hub, root)


@pytest.mark.parametrize("is_new", [False, True])
def test_a_card_edited_on_the_hub_is_not_overwritten(root: Path, hub: Hub, is_new: bool):
    """Whether or not there is anything new to publish."""
    publish(root, hub)
    edit = b"---\nlicense: mit\nextra_gated_prompt: Agree\n---\n# trees\n"
    add(hub, "trees", {"README.md": edit})
    if is_new:
        change_card(root, "trees", "---\nlicense: mit\n---\n# trees, second edition\n")
    with refused(hub, r"the README\.md of openprm/trees was edited .* --overwrite.*Nothing was"):
        publish(root, hub)
    assert published(hub, "trees")["README.md"] == edit
    publish(root, hub, overwrite=True)
    assert is_published(hub, root)
    publish(root, hub)


def test_another_project_of_the_owner_is_not_replaced(root: Path, hub: Hub):
    for source in ("gsm8k", "mmlu"):
        publish(root, hub)
        for name in ORDER[:3]:
            change_manifest(root / name, lambda manifest: manifest.update(origins=[{"name": source}]))  # noqa: B023
    with refused(hub, r"openprm/trees holds trees of other sources \(gsm8k\); give .* --prefix, or .* --overwrite"):
        publish(root, hub)
    publish(root, hub, overwrite=True)
    assert is_published(hub, root)


def test_what_others_added_stays_and_is_named(root: Path, hub: Hub):
    publish(root, hub)
    added = {"LICENSE": b"MIT\n", "notes/new.md": b"hello\n"}
    add(hub, "trees", added)
    (root / "trees" / "data" / "test-00000.parquet").unlink()
    list_files(root / "trees")
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
