"""A small Hub on this machine, for tests and to try publishing by hand: `python -m tests.hub` prints what to paste.

It serves what the unmodified clients ask (huggingface_hub, datasets, transformers, evaluate), speaks no more than
that, and keeps everything in a folder:

    blobs/SHA256                                  the content of every file, once
    repos/KIND/OWNER/NAME/repo.json               visibility, branches and tags; replaced whole
    repos/KIND/OWNER/NAME/commits/ID.json         a commit: its parent, and all files of the repository by path
    xet/                                          folders that stand in for Xet's storage, and Xet hashes by SHA-256

What the clients insist on: `X-Repo-Commit` and a quoted `ETag` on HEAD; large files behind a redirect to another
origin (here `localhost` for `127.0.0.1`), as a client follows one to the same origin and loses these headers; the url
in the 409 of a repository that exists; error codes in headers; the SHA-256 or git hash of a file that is there, so
that an unchanged file is not sent again.

Standard library, but for checking a card (PyYAML) and for Xet (hf_xet), where the real parts are used.
"""

from __future__ import annotations

import argparse
import base64
import fnmatch
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

#: Above it a file is large (LFS or Xet), whatever its name; and an LFS upload goes in parts of this size.
LARGE = 1 << 20

LARGE_NAMES = (
    "7z arrow bin bz2 gif gz jpg model npy npz onnx parquet pickle png pt pth safetensors tar wav zip".split()
)
GIT_ATTRIBUTES = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE_NAMES)

API = r"/api/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)"
PAGE = r"/(?:(?P<kind>datasets|spaces)/)?(?P<name>[^/]+/[^/]+)"


class User(NamedTuple):
    name: str
    organization: str | None
    role: str  # of the token: write | read


class Request(NamedTuple):
    """What was asked and answered: status 0 where the connection was dropped, and the bytes of the body received."""

    method: str
    path: str
    status: int
    received: int


@dataclass
class Fault:
    """The next `times` requests whose `METHOD /path` matches the regular expression get this `answer`:
    a status (with `Retry-After` if given), "drop" (the connection closes) or "hang" (until the Hub stops)."""

    pattern: str
    answer: int | str
    times: int = 1
    retry_after: int | None = None


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


class Hub:
    """The Hub while the `with` lasts, at `endpoint`. A Hub of the same `root` (and `port`) goes on where it was.

    `token` may write to `owner`, `read_token` is its read-only sister, `stranger_token` belongs to somebody else;
    any other is refused. `requests` lists what was asked, `faults` what shall go wrong (see `Fault`).
    """

    token, read_token, stranger_token = ("hf_" + name.ljust(34, "0") for name in ("publisher", "reader", "stranger"))

    def __init__(self, root: Path, port: int = 0, owner: str = "openprm"):
        self.root = Path(root).resolve()
        for folder in ("blobs", "incoming", "repos", "xet/hashes"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self.users = {
            self.token: User("publisher", owner, "write"),
            self.read_token: User("publisher", owner, "read"),
            self.stranger_token: User("stranger", None, "write"),
        }
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self.stopped = threading.Event()
        self._server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.storage = f"http://localhost:{self._server.server_port}/storage"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()

    def environment(self, home: Path, token: str | None = token, xet: bool = False) -> dict[str, str]:
        """The environment of a process that talks to this Hub alone, its caches in `home`."""
        others = {key: value for key, value in os.environ.items() if not re.match("(HF|HUGGING|TRANSFORMERS)_", key)}
        return (
            others
            | {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1,localhost"}
            | {"HF_HUB_DISABLE_XET": str(int(not xet)), "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
            | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
            | ({"HF_TOKEN": token} if token else {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"})
        )

    def sent(self) -> int:
        """Bytes of files received so far, in commits and in storage."""
        return sum(r.received for r in self.requests if r.method == "PUT" or "/commit/" in r.path)

    def blob(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256

    def keep(self, chunks: Iterable[bytes], sha256: str | None = None) -> str:
        """Store content, whole or not at all; its SHA-256, refused where another was announced."""
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=self.root / "incoming", delete=False) as file:
            try:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
                if sha256 not in (None, digest.hexdigest()):
                    raise Refusal(400, f"The content has the SHA-256 {digest.hexdigest()}, not {sha256}")
            except BaseException:
                Path(file.name).unlink()
                raise
        Path(file.name).rename(self.blob(digest.hexdigest()))
        return digest.hexdigest()


class Repo:
    """A repository on the disk. `info` holds private, sdk, created, branches and tags (name to commit id)."""

    def __init__(self, hub: Hub, kind: str, name: str):
        self.hub, self.kind, self.name = hub, kind, name
        self.folder = hub.root / "repos" / kind / name
        self.exists = (self.folder / "repo.json").exists()
        self.info: dict[str, Any] = json.loads((self.folder / "repo.json").read_bytes()) if self.exists else {}

    @property
    def url(self) -> str:
        return f"{self.hub.endpoint}/" + ("" if self.kind == "models" else f"{self.kind}/") + self.name

    def save(self) -> None:
        _write_json(self.folder / "repo.json", self.info)

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
            "date": _now(),
            "user": user,
            "files": {path: {"commit": id} | files[path] for path in sorted(files)},
        }
        _write_json(self.folder / "commits" / f"{id}.json", commit)
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
        return self.hub.blob(file["sha256"]).read_bytes()

    def card(self, commit: dict[str, Any]) -> dict[str, Any]:
        readme = commit["files"].get("README.md")
        return (_front_matter(self.content(readme).decode()) or {}) if readme else {}


_ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Reply]]] = []


def _route(method: str, pattern: str) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
    def register(function: Callable[..., Reply]) -> Callable[..., Reply]:
        _ROUTES.append((method, re.compile(pattern), function))
        return function

    return register


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # headers and body in one packet
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing: see `Hub.requests`."""

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.received = 0
        self.chunks = self._chunks()
        fault = self._fault(f"{self.command} {url.path}")
        if fault and isinstance(fault.answer, str):
            if fault.answer == "hang":
                self.hub.stopped.wait()
            self.hub.requests.append(Request(self.command, url.path, 0, self.received))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        try:
            reply = self._refused(fault) if fault else self._routed(url.path)
        except Refusal as refusal:
            reply = refusal.reply
        for _ in self.chunks:  # what nobody read, or it would be taken for the next request
            pass
        self.hub.requests.append(Request(self.command, url.path, reply.status, self.received))
        self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def _fault(self, request: str) -> Fault | None:
        with self.hub.lock:
            for fault in self.hub.faults:
                if fault.times > 0 and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None

    def _refused(self, fault: Fault) -> Reply:
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return Reply({"error": "asked for by a test"}, int(fault.answer), headers)

    def _routed(self, path: str) -> Reply:
        method = "GET" if self.command == "HEAD" else self.command
        for expected, pattern, function in _ROUTES:
            match = pattern.fullmatch(path)
            if match and method == expected:
                groups = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
                return function(self, **groups)
        raise Refusal(404, f"This Hub has no {method} {path}")

    def _chunks(self) -> Iterator[bytes]:
        """The body, in pieces. A client that dies within it is no end of it."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self._line(), 16):
                yield self._read(size)
                self._line()
            self._line()
        else:
            left = int(self.headers.get("Content-Length", 0))
            while left:
                chunk = self._read(min(left, 1 << 16))
                left -= len(chunk)
                yield chunk

    def _line(self) -> bytes:
        line = self.rfile.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the client went away")
        return line

    def _read(self, size: int) -> bytes:
        data = self.rfile.read(size)
        self.received += len(data)
        if len(data) < size:
            raise ConnectionError("the client went away")
        return data

    def _send(self, reply: Reply) -> None:
        content = reply.content if isinstance(reply.content, bytes | Path) else json.dumps(reply.content).encode()
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        start, stop = 0, size
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked and reply.status == 200 and "ETag" in reply.headers:
            first, last = asked.groups()
            start, stop = (int(first), min(int(last or size) + 1, size)) if first else (max(0, size - int(last)), size)
            if start >= size:
                reply, content, start, stop = Reply(status=416), b"", 0, 0
                reply.headers["Content-Range"] = f"bytes */{size}"
            else:
                reply.status, reply.headers["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{size}"
        self.send_response(reply.status)
        kind = "application/octet-stream" if isinstance(reply.content, bytes | Path) else "application/json"
        for key, value in {"Content-Type": kind, "Content-Length": str(stop - start), **reply.headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD" and isinstance(content, bytes):
            self.wfile.write(content[start:stop])
        elif isinstance(content, Path) and self.command != "HEAD":
            with content.open("rb") as file:
                file.seek(start)
                for begin in range(start, stop, 1 << 20):
                    self.wfile.write(file.read(min(1 << 20, stop - begin)))

    def json(self) -> Any:
        return json.loads(b"".join(self.chunks))

    def user(self) -> User | None:
        """Whose token it is; None without one."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.users:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return self.hub.users.get(token)

    def writer(self, kind: str, name: str) -> User:
        """The user, who must be allowed to change the repository of this name."""
        user, owner = self.user(), name.split("/")[0]
        if user is None:
            raise Refusal(401, "Invalid username or password.")
        if owner not in (user.name, user.organization):
            raise Refusal(403, f"You don't have the rights to change {kind} under the namespace {owner!r}")
        if user.role != "write":
            raise Refusal(403, "Forbidden: your token may only read, and this needs one that may write")
        return user

    def repo(self, kind: str, name: str, write: bool = False) -> Repo:
        """The repository, if it is there for the one who asks: what is private is not there for others."""
        user, repo = self.user(), Repo(self.hub, kind, name)
        hidden = repo.exists and repo.info["private"] and (not user or name.split("/")[0] not in user)
        if not repo.exists or hidden:
            raise Refusal(404 if user else 401, "Repository not found", "RepoNotFound")
        if write:
            self.writer(kind, name)
        return repo


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def __init__(self, *arguments: Any):
        self._connections: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """A client's kept connection would be served on behind the back of a Hub that is closed."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may die: that is what tests do to them. Anything else is our mistake and is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@_route("GET", "/api/whoami-v2")
def _whoami(asked: _Handler) -> Reply:
    user = asked.user()
    if user is None:
        raise Refusal(401, "Invalid username or password.")
    organizations = [{"type": "org", "name": user.organization, "roleInOrg": user.role}] if user.organization else []
    access = {"displayName": "test", "role": user.role}
    auth = {"type": "access_token", "accessToken": access}
    return Reply({"type": "user", "name": user.name, "orgs": organizations, "auth": auth})


@_route("POST", "/api/repos/create")
def _create(asked: _Handler) -> Reply:
    body = asked.json()
    kind, name = _named(asked, body)
    user, repo = asked.writer(kind, name), Repo(asked.hub, kind, name)
    with asked.hub.lock:
        if repo.exists:
            raise Refusal(409, f"You already created this {kind} repo: {name}", url=repo.url)
        private = body.get("visibility") == "private" or bool(body.get("private"))
        repo.info = {"private": private, "created": _now()}
        repo.info |= {"sdk": body.get("sdk"), "branches": {}, "tags": {}}
        files = {".gitattributes": _regular(asked.hub, GIT_ATTRIBUTES.encode())}
        if kind == "spaces":
            card = f"---\ntitle: {name.split('/')[1]}\nsdk: {body['sdk']}\n---\n"
            files["README.md"] = _regular(asked.hub, card.encode())
        repo.commit("main", "initial commit", "", files, user.name)
    return Reply({"url": repo.url, "name": name})


@_route("DELETE", "/api/repos/delete")
def _delete(asked: _Handler) -> Reply:
    shutil.rmtree(asked.repo(*_named(asked, asked.json()), write=True).folder)
    return Reply()


@_route("POST", "/api/validate-yaml")
def _validate(asked: _Handler) -> Reply:
    try:
        card = _front_matter(asked.json()["content"])
    except ValueError as error:
        return Reply({"errors": [{"message": str(error)}], "warnings": []}, 400)
    warnings = [] if card else [{"message": "empty or missing yaml metadata in repo card"}]
    return Reply({"errors": [], "warnings": warnings})


@_route("GET", API + "(?:/revision/(?P<revision>[^/]+))?")
def _info(asked: _Handler, kind: str, name: str, revision: str = "main") -> Reply:
    repo = asked.repo(kind, name)
    commit = repo.at(revision)
    card = repo.card(commit)
    info = {
        "_id": hashlib.md5(f"{kind}/{name}".encode()).hexdigest()[:24],
        "id": name,
        "author": name.split("/")[0],
        "sha": commit["id"],
        "lastModified": commit["date"],
        "createdAt": repo.info["created"],
        "private": repo.info["private"],
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": card.get("tags", []),
        "cardData": card,
        "siblings": [_sibling(path, file, "blobs" in asked.query) for path, file in commit["files"].items()],
    }
    if kind == "models":
        info |= {key: card[key] for key in ("library_name", "pipeline_tag") if key in card}
    if kind == "spaces":
        info["sdk"] = repo.info["sdk"]
    expanded = {"_id", "id", *asked.query["expand"]} if "expand" in asked.query else info
    return Reply({key: value for key, value in info.items() if key in expanded})


@_route("GET", API + "/auth-check(?P<write>/write)?")
def _auth_check(asked: _Handler, kind: str, name: str, write: str = "") -> Reply:
    asked.repo(kind, name, write=bool(write))
    return Reply()


@_route("GET", API + "/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
def _tree(asked: _Handler, kind: str, name: str, revision: str, folder: str = "") -> Reply:
    repo = asked.repo(kind, name)
    commit = repo.at(revision)
    start = f"{folder}/" if folder else ""
    paths = [path for path in commit["files"] if path.startswith(start)]
    if not paths:
        repo.file(commit, folder + "/")
    every, expand = (asked.query.get(key) == ["true"] for key in ("recursive", "expand"))
    entries = [path for path in _with_folders(paths) if path.startswith(start)]
    shown = [path for path in entries if every or "/" not in path.removeprefix(start)]
    return Reply([_entry(repo, commit, path, expand) for path in shown])


@_route("POST", API + "/paths-info/(?P<revision>[^/]+)")
def _paths_info(asked: _Handler, kind: str, name: str, revision: str) -> Reply:
    repo = asked.repo(kind, name)
    commit = repo.at(revision)
    form = parse_qs(b"".join(asked.chunks).decode())
    expand = form.get("expand", ["false"])[0].lower() == "true"
    known = set(_with_folders(commit["files"]))
    return Reply([_entry(repo, commit, path, expand) for path in form.get("paths", []) if path in known])


@_route("GET", API + "/refs")
def _refs(asked: _Handler, kind: str, name: str) -> Reply:
    info = asked.repo(kind, name).info

    def listed(key: str, prefix: str) -> list[dict[str, str]]:
        return [{"name": n, "ref": f"refs/{prefix}/{n}", "targetCommit": id} for n, id in info[key].items()]

    return Reply({"branches": listed("branches", "heads"), "tags": listed("tags", "tags"), "converts": []})


@_route("GET", API + "/commits/(?P<revision>[^/]+)")
def _commits(asked: _Handler, kind: str, name: str, revision: str) -> Reply:
    repo = asked.repo(kind, name)
    commits = [repo.at(revision)]
    while commits[-1]["parent"]:
        commits.append(repo.at(commits[-1]["parent"]))
    keys = ("id", "title", "message", "date")
    return Reply([{key: c[key] for key in keys} | {"authors": [{"user": c["user"]}]} for c in commits])


@_route("POST", API + "/tag/(?P<revision>[^/]+)")
def _tag(asked: _Handler, kind: str, name: str, revision: str) -> Reply:
    tag = asked.json()["tag"]
    with asked.hub.lock:
        repo = asked.repo(kind, name, write=True)
        if tag in repo.info["tags"]:
            raise Refusal(409, f"Tag reference exists already: {tag}")
        repo.info["tags"][tag] = repo.at(revision)["id"]
        repo.save()
    return Reply()


@_route("DELETE", API + "/tag/(?P<tag>[^/]+)")
def _untag(asked: _Handler, kind: str, name: str, tag: str) -> Reply:
    with asked.hub.lock:
        repo = asked.repo(kind, name, write=True)
        if repo.info["tags"].pop(tag, None) is None:
            raise Refusal(404, f"Invalid rev id: {tag}", "RevisionNotFound")
        repo.save()
    return Reply()


@_route("POST", API + "/preupload/(?P<revision>[^/]+)")
def _preupload(asked: _Handler, kind: str, name: str, revision: str) -> Reply:
    """For each file, which way it is to be sent, and the id of what is there under its path."""
    repo = asked.repo(kind, name, write=True)
    commit = repo.at(revision)
    attributes = repo.content(repo.file(commit, ".gitattributes")).decode().splitlines()
    patterns = [line.split()[0] for line in attributes if "filter=lfs" in line]
    answers = []
    for file in asked.json()["files"]:
        path, there = file["path"], commit["files"].get(file["path"])
        matched = any(fnmatch.fnmatchcase(path, p) or fnmatch.fnmatchcase(Path(path).name, p) for p in patterns)
        large = matched or file["size"] > LARGE or b"\0" in base64.b64decode(file["sample"])
        oid = there and (there["sha256"] if there["lfs"] else there["oid"])
        mode = "lfs" if large else "regular"
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return Reply({"files": answers})


@_route("POST", API + "/commit/(?P<branch>[^/]+)")
def _commit(asked: _Handler, kind: str, name: str, branch: str) -> Reply:
    asked.repo(kind, name)  # what is not there is not found, before it is forbidden
    user = asked.writer(kind, name)
    items = [json.loads(line) for line in b"".join(asked.chunks).splitlines() if line.strip()]
    header = next(item["value"] for item in items if item["key"] == "header")
    with asked.hub.lock:
        repo = asked.repo(kind, name)
        head = repo.at(branch)
        if branch not in repo.info["branches"]:
            raise Refusal(400, f"{branch} is no branch")
        if header.get("parentCommit", head["id"]) != head["id"]:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head["files"])
        for item in items:
            value, key = item["value"], item["key"]
            if key == "file":
                files[value["path"]] = _regular(asked.hub, base64.b64decode(value["content"]))
            elif key == "lfsFile":
                files[value["path"]] = _large(asked.hub, value["oid"])
            elif key == "deletedFile":
                repo.file(head, value["path"])
                files.pop(value["path"], None)
            elif key == "deletedFolder":
                folder = value["path"].rstrip("/") + "/"
                files = {path: file for path, file in files.items() if not path.startswith(folder)}
        id = repo.commit(branch, header["summary"], header.get("description", ""), files, user.name)
    return Reply({"success": True, "commitOid": id, "commitUrl": f"{repo.url}/commit/{id}"})


@_route("GET", PAGE + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def _resolve(asked: _Handler, name: str, revision: str, path: str, kind: str = "models") -> Reply:
    repo = asked.repo(kind, name)
    commit = repo.at(revision)
    file = repo.file(commit, path)
    headers = {"X-Repo-Commit": commit["id"], "Accept-Ranges": "bytes"}
    if not file["lfs"]:
        return Reply(asked.hub.blob(file["sha256"]), 200, headers | {"ETag": f'"{file["oid"]}"'})
    headers |= {"X-Linked-Etag": f'"{file["sha256"]}"', "X-Linked-Size": str(file["size"])}
    headers["Location"] = f"{asked.hub.storage}/{file['sha256']}"
    if xet_hash := _xet_hash(asked.hub, file["sha256"]):
        token = f"{asked.hub.endpoint}/api/{kind}/{name}/xet-read-token/{commit['id']}"
        headers |= {"X-Xet-Hash": xet_hash, "Link": f'<{token}>; rel="xet-auth"'}
    return Reply(b"", 302, headers)


@_route("POST", PAGE + r"\.git/info/lfs/objects/batch")
def _lfs_batch(asked: _Handler, name: str, kind: str = "models") -> Reply:
    """Where to send each large file that is not there yet: whole, or in parts."""
    asked.repo(kind, name, write=True)
    body = asked.json()
    objects = []
    for each in body["objects"]:
        answer, storage = {"oid": each["oid"], "size": each["size"]}, f"{asked.hub.storage}/{each['oid']}"
        parts = -(-each["size"] // LARGE)
        upload: dict[str, Any] = {"href": storage}
        if parts > 1 and "multipart" in body["transfers"]:
            urls = {str(part): f"{storage}/parts/{part:05}" for part in range(1, parts + 1)}
            upload = {"href": f"{storage}/complete", "header": {"chunk_size": str(LARGE), **urls}}
        if not asked.hub.blob(each["oid"]).exists():
            answer["actions"] = {"upload": upload, "verify": {"href": f"{asked.hub.endpoint}/api/lfs-verify"}}
        objects.append(answer)
    return Reply({"objects": objects, "transfer": "multipart"})


@_route("POST", "/api/lfs-verify")
def _lfs_verify(asked: _Handler) -> Reply:
    body = asked.json()
    if not asked.hub.blob(body["oid"]).exists():
        raise Refusal(404, f"{body['oid']} was not uploaded")
    return Reply()


@_route("GET", "/storage/(?P<sha256>[0-9a-f]{64})")
def _stored(asked: _Handler, sha256: str) -> Reply:
    return Reply(asked.hub.blob(sha256), 200, {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})


@_route("PUT", "/storage/(?P<sha256>[0-9a-f]{64})")
def _store(asked: _Handler, sha256: str) -> Reply:
    asked.hub.keep(asked.chunks, sha256)
    return Reply()


@_route("PUT", "/storage/(?P<sha256>[0-9a-f]{64})/parts/(?P<part>[0-9]+)")
def _store_part(asked: _Handler, sha256: str, part: str) -> Reply:
    data = b"".join(asked.chunks)
    folder = asked.hub.root / "incoming" / sha256
    folder.mkdir(exist_ok=True)
    (folder / part).write_bytes(data)
    return Reply(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})


@_route("POST", "/storage/(?P<sha256>[0-9a-f]{64})/complete")
def _complete(asked: _Handler, sha256: str) -> Reply:
    folder = asked.hub.root / "incoming" / sha256
    parts = [folder / f"{part['partNumber']:05}" for part in asked.json()["parts"]]
    asked.hub.keep((part.read_bytes() for part in parts), sha256)
    shutil.rmtree(folder)
    return Reply()


@_route("GET", API + "/xet-(?P<access>read|write)-token/(?P<revision>[^/]+)")
def _xet_token(asked: _Handler, kind: str, name: str, access: str, revision: str) -> Reply:
    """A key to Xet's storage: a fresh folder, as only one process at a time may use one. To read, it is filled."""
    repo = asked.repo(kind, name, write=access == "write")
    folder = Path(tempfile.mkdtemp(prefix=access, dir=asked.hub.root / "xet"))
    expires, location = int(time.time()) + 3600, f"local://{folder}"
    if access == "read":
        _fill_xet(asked.hub, folder, {f["sha256"] for f in repo.at(revision)["files"].values() if f["lfs"]})
    names = ("X-Xet-Cas-Url", "X-Xet-Access-Token", "X-Xet-Token-Expiration")
    headers = dict(zip(names, (location, "test", str(expires)), strict=True))
    return Reply({"casUrl": location, "accessToken": "test", "exp": expires}, 200, headers)


def _fetch_xet(hub: Hub, sha256: str) -> None:
    """Take a file that a client put in Xet's storage into ours, if there is one."""
    import hf_xet

    for shard in hub.root.glob("xet/write*/xet/xorbs/shards/*.mdb"):
        xet_hash = _shard_hashes(shard.read_bytes()).get(sha256)
        if xet_hash:
            with tempfile.TemporaryDirectory(dir=hub.root / "incoming") as folder:
                # of a copy: the client may hold its own open
                shutil.copytree(shard.parents[3], folder, dirs_exist_ok=True)
                with hf_xet.XetSession().new_file_download_group(**_xet_access(Path(folder))) as group:
                    group.start_download_file(hf_xet.XetFileInfo(xet_hash, None), f"{folder}/content")
                with open(f"{folder}/content", "rb") as file:
                    hub.keep(iter(lambda: file.read(1 << 20), b""), sha256)
            (hub.root / "xet" / "hashes" / sha256).write_text(xet_hash)
            return


def _fill_xet(hub: Hub, folder: Path, contents: set[str]) -> None:
    """Put those that came through Xet into a folder of Xet's storage; Xet's hash depends on the content alone."""
    import hf_xet

    with hf_xet.XetSession().new_upload_commit(**_xet_access(folder)) as commit:
        for sha256 in contents:
            if _xet_hash(hub, sha256):
                commit.start_upload_file(str(hub.blob(sha256)), sha256=sha256)


def _xet_access(folder: Path) -> dict[str, Any]:
    return {"endpoint": f"local://{folder}", "token": "test", "token_expiry_unix_secs": int(time.time()) + 3600}


def _xet_hash(hub: Hub, sha256: str) -> str | None:
    path = hub.root / "xet" / "hashes" / sha256
    return path.read_text() if path.exists() else None


def _shard_hashes(shard: bytes) -> dict[str, str]:
    """SHA-256 to Xet hash of the files in one of Xet's shards (format: the "file info" section of its specification).

    Behind a header of 48 bytes come blocks of records of 48 bytes, a block for each file: its hash, flags and the
    number of records, these records, as many again with the flag 31, and one with the SHA-256 with the flag 30. A
    hash of ones ends the section. Hashes are written as four little-endian numbers.
    """
    hashes, at = {}, 48
    while (file := shard[at : at + 32]) != b"\xff" * 32:
        flags, records = struct.unpack_from("<II", shard, at + 32)
        at += 48 * (1 + records * (1 + (flags >> 31 & 1)))
        if flags >> 30 & 1:
            hashes[_xet_hex(shard[at : at + 32])] = _xet_hex(file)
            at += 48
    return hashes


def _xet_hex(data: bytes) -> str:
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", data))


def _named(asked: _Handler, body: dict[str, Any]) -> tuple[str, str]:
    """Kind and name of the repository in a request to create or delete it."""
    user = asked.user()
    owner = body.get("organization") or (user.name if user else "")
    return f"{body.get('type') or 'model'}s", f"{owner}/{body['name']}"


def _regular(hub: Hub, content: bytes) -> dict[str, Any]:
    """The entry of a file that git holds itself."""
    return {"size": len(content), "oid": _git_hash(content), "sha256": hub.keep([content]), "lfs": False}


def _large(hub: Hub, sha256: str) -> dict[str, Any]:
    """The entry of a file for which git holds a pointer; its content must be there."""
    if not hub.blob(sha256).exists():
        _fetch_xet(hub, sha256)
    if not hub.blob(sha256).exists():
        raise Refusal(400, f"LFS pointer pointed to a file that does not exist: {sha256}")
    size = hub.blob(sha256).stat().st_size
    return {"size": size, "oid": _git_hash(_pointer(sha256, size)), "sha256": sha256, "lfs": True}


def _pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _sibling(path: str, file: dict[str, Any], blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    sibling = {"rfilename": path, "size": file["size"], "blobId": file["oid"]}
    return sibling | ({"lfs": _lfs(file, "sha256")} if file["lfs"] else {})


def _lfs(file: dict[str, Any], key: str) -> dict[str, Any]:
    return {key: file["sha256"], "size": file["size"], "pointerSize": len(_pointer(file["sha256"], file["size"]))}


def _with_folders(paths: Iterable[str]) -> list[str]:
    """The paths and all folders above them, in order."""
    return sorted({"/".join(path.split("/")[:n]) for path in paths for n in range(1, path.count("/") + 2)})


def _entry(repo: Repo, commit: dict[str, Any], path: str, expand: bool) -> dict[str, Any]:
    """A file or a folder as the tree lists it."""
    file = commit["files"].get(path)
    if file:
        entry = {"type": "file", "path": path, "size": file["size"], "oid": file["oid"]}
        if file["lfs"]:
            entry["lfs"] = _lfs(file, "oid")
            if xet_hash := _xet_hash(repo.hub, file["sha256"]):
                entry["xetHash"] = xet_hash
    else:
        below = [f["oid"] for p, f in commit["files"].items() if p.startswith(f"{path}/")]
        entry = {"type": "directory", "path": path, "size": 0, "oid": _git_hash(" ".join(below).encode())}
    if expand:
        last = repo.at(file["commit"]) if file else commit
        entry["lastCommit"] = {key: last[key] for key in ("id", "title", "date")}
    return entry


def _front_matter(card: str) -> dict[str, Any] | None:
    """A card's metadata, None without. Raises ValueError where it is not valid."""
    import yaml

    match = re.match(r"---\r?\n(.*?)\r?\n---(\r?\n|$)", card, re.DOTALL)
    if not match:
        return None
    try:
        metadata = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        raise ValueError(f"invalid YAML: {error}") from None
    if not isinstance(metadata, dict | None):
        raise ValueError("the metadata is no mapping")
    return metadata


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _write_json(path: Path, value: object) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1))
    part.replace(path)


def main() -> None:
    """Serve a Hub until Ctrl-C, and say how to talk to it."""
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description=main.__doc__)
    parser.add_argument("--root", type=Path, default=Path("runs/hub"), help="where it keeps everything [runs/hub]")
    parser.add_argument("--port", type=int, default=8899, help="[8899]; 0: any")
    arguments = parser.parse_args()
    with Hub(arguments.root, arguments.port) as hub:
        print("A Hub for trying things out. In another terminal, paste:\n")
        print(f"export HF_ENDPOINT={hub.endpoint} HF_TOKEN={hub.token} HF_HUB_DISABLE_XET=1")
        print(f"export HF_HOME={quote(str(hub.root / 'home'))} NO_PROXY=127.0.0.1,localhost\n", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
