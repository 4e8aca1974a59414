"""What tests do with a layout and a Hub: publish it, change it as its stage or as a person on the Hub would, look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi
from openprm.push.preflight import laid_out
from openprm.push.upload import upload

from tests.local_hub import Hub
from tests.publication import list_files

ORDER = ["candidates", "trees", "labels", "pairs", "prm", "demo"]
TYPES = {**dict.fromkeys(("candidates", "trees", "labels", "pairs"), "dataset"), "prm": "model", "demo": "space"}


def publish(root: Path, hub: Hub, said: list[str] | None = None, **options: Any) -> dict[str, str]:
    asked = {"private": None, "tag": None, "token": hub.token, "endpoint": hub.endpoint, **options}
    return upload(laid_out(root), say=(said if said is not None else []).append, **asked)


def change_card(root: Path, name: str, text: str) -> None:
    (root / name / "README.md").write_text(text)
    list_files(root / name)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token)


def add(hub: Hub, name: str, files: dict[str, bytes]) -> None:
    """As a person does on the Hub's pages."""
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    api(hub).create_commit(f"openprm/{name}", operations, commit_message="Other", repo_type=TYPES[name])


def other_repository(hub: Hub, name: str, files: dict[str, bytes]) -> None:
    sdk = "gradio" if TYPES[name] == "space" else None
    api(hub).create_repo(f"openprm/{name}", repo_type=TYPES[name], space_sdk=sdk)
    add(hub, name, files)


def published(hub: Hub, name: str, revision: str = "main") -> dict[str, bytes]:
    """The files of a repository, read past the server, without the Hub's own."""
    folder = hub.store.root / "repos" / f"{TYPES[name]}s" / "openprm" / name
    info = json.loads((folder / "repo.json").read_bytes())
    commit = info["branches"].get(revision) or info["tags"].get(revision)
    files = json.loads((folder / "commits" / f"{commit}.json").read_bytes())["files"]
    blobs = hub.store.root / "blobs"
    return {path: (blobs / file["sha256"]).read_bytes() for path, file in files.items() if path != ".gitattributes"}


def is_published(hub: Hub, root: Path) -> bool:
    return all(published(hub, name) == contents(root / name) for name in ORDER)


def titles(hub: Hub, name: str) -> list[str]:
    """Of the commits, the newest first."""
    return [commit.title for commit in api(hub).list_repo_commits(f"openprm/{name}", repo_type=TYPES[name])]
