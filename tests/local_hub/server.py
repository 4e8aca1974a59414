"""The server: connections, routes, users, faults and the list of requests."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from .store import Refusal, Reply, Repo, Store

#: Paths of what concerns a repository: in the API, and on its pages.
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
    a status (with an error code if given) or "drop" (the connection closes)."""

    pattern: str
    answer: int | str
    times: int = 1
    code: str | None = None  # as "GatedRepo"


class Hub:
    """The Hub while the `with` lasts, at `endpoint`. A Hub of the same `root` (and `port`) goes on where it was.

    `token` may write to `owner`, `read_token` may only read, `other_token` is another user's;
    any other is refused. `requests` lists what was asked, `faults` what shall go wrong (see `Fault`).
    """

    token, read_token, other_token = ("hf_" + name.ljust(34, "0") for name in ("publisher", "reader", "other"))

    def __init__(self, root: Path, port: int = 0, owner: str = "openprm"):
        self.store = Store(root)
        self.users = {
            self.token: User("publisher", owner, "write"),
            self.read_token: User("publisher", owner, "read"),
            self.other_token: User("other", None, "write"),
        }
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self._server = _Server(("127.0.0.1", port), type("Handler", (Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.storage = f"http://localhost:{self._server.server_port}/storage"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()

    def environment(self, home: Path, token: str | None = token) -> dict[str, str]:
        """The environment of a process that talks to this Hub alone, its caches in `home`."""
        others = {key: value for key, value in os.environ.items() if not re.match("(HF|HUGGING|TRANSFORMERS)_", key)}
        return (
            others
            | {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1,localhost"}
            | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
            | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
            | ({"HF_TOKEN": token} if token else {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"})
        )

    def sent(self) -> int:
        """Bytes received so far of commits and of large files."""
        return sum(r.received for r in self.requests if r.method == "PUT" or "/commit/" in r.path)


_ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Reply]]] = []


def route(method: str, pattern: str) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
    def register(function: Callable[..., Reply]) -> Callable[..., Reply]:
        _ROUTES.append((method, re.compile(pattern), function))
        return function

    return register


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # headers and body in one packet
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing: see `Hub.requests`."""

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        size = int(self.headers.get("Content-Length", 0))
        self.body = self.rfile.read(size)
        if len(self.body) < size:
            raise ConnectionError("the client went away")
        fault = self._fault(f"{self.command} {url.path}")
        if fault and isinstance(fault.answer, str):
            self.hub.requests.append(Request(self.command, url.path, 0, size))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        try:
            if fault:
                raise Refusal(int(fault.answer), "asked for by a test", fault.code)
            reply = self._routed(url.path)
        except Refusal as refusal:
            reply = refusal.reply
        self.hub.requests.append(Request(self.command, url.path, reply.status, size))
        self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def _fault(self, request: str) -> Fault | None:
        with self.hub.lock:
            for fault in self.hub.faults:
                if fault.times > 0 and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None

    def _routed(self, path: str) -> Reply:
        method = "GET" if self.command == "HEAD" else self.command
        for expected, pattern, function in _ROUTES:
            match = pattern.fullmatch(path)
            if match and method == expected:
                groups = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
                return function(self, **groups)
        raise Refusal(404, f"This Hub has no {method} {path}")

    def _send(self, reply: Reply) -> None:
        content, kind = reply.content, "application/octet-stream"
        if isinstance(content, Path):
            content = content.read_bytes()
        elif not isinstance(content, bytes):
            content, kind = json.dumps(content).encode(), "application/json"
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked and reply.status == 200 and "ETag" in reply.headers:
            size, (first, last) = len(content), asked.groups()
            start, stop = (int(first), min(int(last or size) + 1, size)) if first else (max(0, size - int(last)), size)
            reply.status, reply.headers["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{size}"
            content = content[start:stop]
        self.send_response(reply.status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(content)), **reply.headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def url(self, repo: Repo) -> str:
        return f"{self.hub.endpoint}/" + ("" if repo.kind == "models" else f"{repo.kind}/") + repo.name

    def json(self) -> Any:
        return json.loads(self.body)

    def user(self) -> User | None:
        """Whose token it is; None without one."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.users:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return self.hub.users.get(token)

    def writer(self, name: str) -> User:
        """The user, who must be allowed to change the repository of this name."""
        user, owner = self.user(), name.split("/")[0]
        if user is None or owner not in (user.name, user.organization) or user.role != "write":
            raise Refusal(403, f"You don't have the rights to change what belongs to {owner!r}")
        return user

    def repo(self, kind: str, name: str, write: bool = False) -> Repo:
        """The repository, if it is there for the one who asks: what is private is not there for others."""
        user, repo = self.user(), Repo(self.hub.store, kind, name)
        hidden = repo.exists and repo.info["private"] and (not user or name.split("/")[0] not in user)
        if not repo.exists or hidden:
            raise Refusal(404 if user else 401, "Repository not found", "RepoNotFound")
        if write:
            self.writer(name)
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
        """Connections that clients keep alive would be served after the Hub is closed."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may die: that is what tests do to them. Anything else is our mistake and is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
