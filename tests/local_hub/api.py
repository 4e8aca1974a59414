"""The API: repositories, their contents and commits."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from .server import API, Handler, route
from .store import LARGE, Refusal, Reply, Repo, git_hash, large, regular


@route("GET", "/api/whoami-v2")
def _whoami(asked: Handler) -> Reply:
    user = asked.user()
    if user is None:
        raise Refusal(401, "Invalid username or password.")
    organizations = [{"type": "org", "name": user.organization, "roleInOrg": "write"}] if user.organization else []
    access = {"displayName": "test", "role": user.role}
    auth = {"type": "access_token", "accessToken": access}
    return Reply({"type": "user", "name": user.name, "orgs": organizations, "auth": auth})


@route("POST", "/api/repos/create")
def _create(asked: Handler) -> Reply:
    body, user = asked.json(), asked.user()
    owner = body.get("organization") or (user.name if user else "")
    kind, name = f"{body.get('type') or 'model'}s", f"{owner}/{body['name']}"
    user = asked.writer(name)
    with asked.hub.lock:
        repo = Repo(asked.hub.store, kind, name)
        if repo.exists:
            raise Refusal(409, f"You already created this {kind} repo: {name}", url=asked.url(repo))
        private = body.get("visibility") == "private" or bool(body.get("private"))
        repo.info = {"private": private, "sdk": body.get("sdk"), "branches": {}, "tags": {}}
        files = {".gitattributes": regular(asked.hub.store, b"*.bin filter=lfs\n")}
        if kind == "spaces":
            card = f"---\ntitle: {name.split('/')[1]}\nsdk: {body['sdk']}\n---\n"
            files["README.md"] = regular(asked.hub.store, card.encode())
        repo.commit("main", "initial commit", "", files, user.name)
    return Reply({"url": asked.url(repo), "name": name})


@route("POST", "/api/validate-yaml")
def _validate(asked: Handler) -> Reply:
    return Reply({"errors": [], "warnings": []})


@route("GET", API + "(?:/revision/(?P<revision>[^/]+))?")
def _info(asked: Handler, kind: str, name: str, revision: str = "main") -> Reply:
    repo = asked.repo(kind, name)
    info = _described(repo, repo.at(revision))
    expanded = {"_id", "id", *asked.query["expand"]} if "expand" in asked.query else info
    return Reply({key: value for key, value in info.items() if key in expanded})


def _described(repo: Repo, commit: dict[str, Any]) -> dict[str, Any]:
    card = repo.card(commit)
    info = {
        "_id": hashlib.md5(f"{repo.kind}/{repo.name}".encode()).hexdigest()[:24],
        "id": repo.name,
        "sha": commit["id"],
        "private": repo.info["private"],
        "gated": False,
        "downloads": 0,
        "likes": 0,
        "tags": card.get("tags", []),
        "cardData": card,
        "siblings": [{"rfilename": path} for path in commit["files"]],
    }
    if repo.kind == "models":
        info |= {key: card[key] for key in ("library_name", "pipeline_tag") if key in card}
    if repo.kind == "spaces":
        info["sdk"] = repo.info["sdk"]
    return info


@route("GET", API + "/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
def _tree(asked: Handler, kind: str, name: str, revision: str, folder: str = "") -> Reply:
    repo = asked.repo(kind, name)
    commit = repo.at(revision)
    start = f"{folder}/" if folder else ""
    paths = [path for path in commit["files"] if path.startswith(start)]
    if folder and not paths:
        repo.file(commit, folder + "/")
    every = asked.query.get("recursive") == ["true"]
    entries = [path for path in _with_folders(paths) if path.startswith(start)]
    shown = [path for path in entries if every or "/" not in path.removeprefix(start)]
    return Reply([_entry(commit, path) for path in shown])


@route("POST", API + "/paths-info/(?P<revision>[^/]+)")
def _paths_info(asked: Handler, kind: str, name: str, revision: str) -> Reply:
    repo = asked.repo(kind, name)
    commit = repo.at(revision)
    form = parse_qs(asked.body.decode())
    known = set(_with_folders(commit["files"]))
    entries = [_entry(commit, path) for path in form.get("paths", []) if path in known]
    for entry in entries:
        if form.get("expand") == ["true"] and entry["type"] == "file":  # DuckDB asks when a file was changed
            last = repo.at(commit["files"][entry["path"]]["commit"])
            entry["lastCommit"] = {key: last[key] for key in ("id", "title", "date")}
    return Reply(entries)


@route("GET", API + "/refs")
def _refs(asked: Handler, kind: str, name: str) -> Reply:
    info = asked.repo(kind, name).info

    def listed(key: str, prefix: str) -> list[dict[str, str]]:
        return [{"name": n, "ref": f"refs/{prefix}/{n}", "targetCommit": id} for n, id in info[key].items()]

    return Reply({"branches": listed("branches", "heads"), "tags": listed("tags", "tags"), "converts": []})


@route("GET", API + "/commits/(?P<revision>[^/]+)")
def _commits(asked: Handler, kind: str, name: str, revision: str) -> Reply:
    repo = asked.repo(kind, name)
    commits = [repo.at(revision)]
    while commits[-1]["parent"]:
        commits.append(repo.at(commits[-1]["parent"]))
    keys = ("id", "title", "message", "date")
    return Reply([{key: c[key] for key in keys} | {"authors": [{"user": c["user"]}]} for c in commits])


@route("POST", API + "/tag/(?P<revision>[^/]+)")
def _tag(asked: Handler, kind: str, name: str, revision: str) -> Reply:
    tag = asked.json()["tag"]
    with asked.hub.lock:
        repo = asked.repo(kind, name, write=True)
        if tag in repo.info["tags"]:
            raise Refusal(409, f"Tag reference exists already: {tag}")
        repo.info["tags"][tag] = repo.at(revision)["id"]
        repo.save()
    return Reply()


@route("POST", API + "/preupload/(?P<revision>[^/]+)")
def _preupload(asked: Handler, kind: str, name: str, revision: str) -> Reply:
    """For each file, which way it is to be sent, and the id of what is there under its path."""
    repo = asked.repo(kind, name, write=True)
    commit = repo.at(revision)
    answers = []
    for file in asked.json()["files"]:
        path, there = file["path"], commit["files"].get(file["path"])
        large = file["size"] > LARGE or b"\0" in base64.b64decode(file["sample"])
        oid = there and (there["sha256"] if there["lfs"] else there["oid"])
        mode = "lfs" if large else "regular"
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return Reply({"files": answers})


@route("POST", API + "/commit/(?P<branch>[^/]+)")
def _commit(asked: Handler, kind: str, name: str, branch: str) -> Reply:
    asked.repo(kind, name)  # what is not there is not found, before it is forbidden
    user = asked.writer(name)
    items = [json.loads(line) for line in asked.body.splitlines() if line.strip()]
    header = next(item["value"] for item in items if item["key"] == "header")
    with asked.hub.lock:
        repo = asked.repo(kind, name)
        head = repo.at(branch)
        if header.get("parentCommit", head["id"]) != head["id"]:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head["files"])
        for item in items:
            value, key = item["value"], item["key"]
            if key == "file":
                files[value["path"]] = regular(asked.hub.store, base64.b64decode(value["content"]))
            elif key == "lfsFile":
                files[value["path"]] = large(asked.hub.store, value["oid"])
            elif key == "deletedFile":
                repo.file(head, value["path"])
                files.pop(value["path"], None)
        id = repo.commit(branch, header["summary"], header.get("description", ""), files, user.name)
    return Reply({"success": True, "commitOid": id, "commitUrl": f"{asked.url(repo)}/commit/{id}"})


def _with_folders(paths: Iterable[str]) -> list[str]:
    """The paths and all folders above them, in order."""
    return sorted({"/".join(path.split("/")[:n]) for path in paths for n in range(1, path.count("/") + 2)})


def _entry(commit: dict[str, Any], path: str) -> dict[str, Any]:
    """A file or a folder as the tree lists it."""
    file = commit["files"].get(path)
    if file is None:
        return {"type": "directory", "path": path, "size": 0, "oid": git_hash(path.encode())}
    entry = {"type": "file", "path": path, "size": file["size"], "oid": file["oid"]}
    if file["lfs"]:
        entry["lfs"] = {"oid": file["sha256"], "size": file["size"], "pointerSize": 130}
    return entry
