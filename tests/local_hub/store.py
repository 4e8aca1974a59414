"""What a Hub keeps on the disk, contents, repositories and their commits; and what it answers."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huggingface_hub import RepoCard

#: Above it a file is large (LFS), whatever its name.
LARGE = 1 << 20


@dataclass
class Reply:
    """A JSON value, or bytes or a file to be served (in ranges too)."""

    content: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An answer that is an error, told the way the clients look for it."""

    def __init__(self, status: int, message: str, code: str | None = None, **content: object):
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.reply = Reply({"error": message, **content}, status, headers)


class Store:
    """The folder of a Hub: contents by SHA-256, and repositories."""

    def __init__(self, root: Path):
        self.root = Path(root).resolve()
        for folder in ("blobs", "incoming", "repos"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    def blob(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256

    def keep(self, content: bytes) -> str:
        """Store content, whole or not at all; returns its SHA-256."""
        name = hashlib.sha256(content).hexdigest()
        partial = self.root / "incoming" / secrets.token_hex()
        partial.write_bytes(content)
        partial.rename(self.blob(name))
        return name


class Repo:
    """A repository on the disk. `info` holds private, sdk, created, branches and tags (name to commit id)."""

    def __init__(self, store: Store, kind: str, name: str):
        self.store, self.kind, self.name = store, kind, name
        self.folder = store.root / "repos" / kind / name
        self.exists = (self.folder / "repo.json").exists()
        self.info: dict[str, Any] = json.loads((self.folder / "repo.json").read_bytes()) if self.exists else {}

    def save(self) -> None:
        write_json(self.folder / "repo.json", self.info)

    def at(self, revision: str) -> dict[str, Any]:
        """The commit that a branch, a tag or an id names."""
        branches, tags = self.info["branches"], self.info["tags"]
        path = self.folder / "commits" / f"{branches.get(revision) or tags.get(revision) or revision}.json"
        if not path.exists():
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return json.loads(path.read_bytes())

    def commit(self, branch: str, title: str, message: str, files: dict[str, dict], user: str) -> str:
        """Make `files` the content of the branch; those without a commit changed in this one."""
        id = secrets.token_hex(20)
        commit = {
            "id": id,
            "parent": self.info["branches"].get(branch),
            "title": title,
            "message": message,
            "date": now(),
            "user": user,
            "files": {path: {"commit": id} | files[path] for path in sorted(files)},
        }
        write_json(self.folder / "commits" / f"{id}.json", commit)
        self.info["branches"][branch] = id
        self.save()
        return id

    def file(self, commit: dict[str, Any], path: str) -> dict[str, Any]:
        if path not in commit["files"]:
            message = f'Entry not found: "{path}" at {commit["id"]}'
            refusal = Refusal(404, message, "EntryNotFound")
            refusal.reply.headers["X-Repo-Commit"] = commit["id"]
            raise refusal
        return commit["files"][path]

    def content(self, file: dict[str, Any]) -> bytes:
        return self.store.blob(file["sha256"]).read_bytes()

    def card(self, commit: dict[str, Any]) -> dict[str, Any]:
        readme = commit["files"].get("README.md")
        return RepoCard(self.content(readme).decode(), ignore_metadata_errors=True).data.to_dict() if readme else {}


def regular(store: Store, content: bytes) -> dict[str, Any]:
    """The entry of a file that git holds itself."""
    return {"size": len(content), "oid": git_hash(content), "sha256": store.keep(content), "lfs": False}


def large(store: Store, sha256: str) -> dict[str, Any]:
    """The entry of a file for which git holds a pointer; its content is there."""
    size = store.blob(sha256).stat().st_size
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return {"size": size, "oid": git_hash(pointer.encode()), "sha256": sha256, "lfs": True}


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def write_json(path: Path, value: object) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1))
    part.replace(path)
