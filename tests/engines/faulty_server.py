"""Small servers that answer as a test says, OpenAI-compatible or with vLLM's rewards: real sockets, no model."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from openai import _base_client

os.environ["NO_PROXY"] = "127.0.0.1"
_base_client.INITIAL_RETRY_DELAY = 0.005  # type: ignore[misc]  # seconds; tests do not wait for half a second

#: What to do with the n-th request (from 0), given its body: "answer", "nonsense", "shape", "half", "late", "drop",
#: or an HTTP status, with a `Retry-After` behind a slash where there is one: "500", "429", "429/0.05".
Behaviour = Callable[[int, dict[str, Any]], str]


def reliable(number: int, request: dict[str, Any]) -> str:
    return "answer"


class FaultyServer:
    """Listens on loopback as long as a `with` block. Each sample is `<question> #<seed>`, with a seed of its own.

    `most`: choices in one answer at most. `key`: the one that it takes, if it asks for one.
    """

    def __init__(self, behaviour: Behaviour = reliable, most: int = 1000, key: str | None = None) -> None:
        self.behaviour, self.most, self.key = behaviour, most, key
        self.message = "as the test says"
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.models: list[dict[str, Any]] = []
        self.faults: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0
        self.down = False
        self.probed = 200
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients break off here
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> FaultyServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                if server.down:
                    return self.drop()
                return self.reply(server.probed, {"object": "list", "data": server.models})

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    number = len(server.requests)
                    server.requests.append(request)
                    server.paths.append(self.path)
                    server.in_flight += 1
                    server.most_in_flight = max(server.most_in_flight, server.in_flight)
                try:
                    self.behave(number, request)
                finally:
                    with server._lock:
                        server.in_flight -= 1

            def behave(self, number: int, request: dict[str, Any]) -> None:
                if server.key is not None and self.headers["Authorization"] != f"Bearer {server.key}":
                    sent = self.headers["Authorization"]
                    return self.reply(401, {"error": {"message": f"{sent} is wrong", "code": "invalid_api_key"}})
                what = "drop" if server.down else server.behaviour(number, request)
                with server._lock:
                    server.faults[what] += 1
                if what == "answer":
                    return self.reply(200, server.completion(request))
                if what == "shape":
                    return self.reply(200, {"choices": [{"text": "of another interface"}]})
                if what == "nonsense":
                    return self.send(200, b"<html>not here</html>")
                if what == "late":
                    time.sleep(3)
                    return self.drop()
                if what == "half":
                    body = json.dumps(server.completion(request)).encode()
                    self.send(200, body[: len(body) // 2], length=len(body))
                    return self.drop()
                if what == "drop":
                    return self.drop()
                status, _, pause = what.partition("/")
                error = {"message": server.message, "code": None}
                return self.reply(int(status), {"error": error}, {"Retry-After": pause} if pause else {})

            def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
                self.send(status, json.dumps(body).encode(), headers=headers or {})

            def send(self, status: int, body: bytes, length: int | None = None, headers: Any = ()) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body) if length is None else length))
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def drop(self) -> None:
                self.close_connection = True
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

        return Handler

    def completion(self, request: dict[str, Any]) -> dict[str, Any]:
        n = min(request["n"], self.most)
        question = request["messages"][-1]["content"]
        choices = [
            {
                "index": i,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": f"{question} #{request['seed'] + i}"},
            }
            for i in range(n)
        ]
        return {"object": "chat.completion", "choices": choices, "usage": {"completion_tokens": 3 * n}}


class RewardServer(FaultyServer):
    """Gives the sum of a sequence's tokens, in the shape and at the address of vLLM's, in an order of its own."""

    def __init__(self, behaviour: Behaviour = reliable, longest: int | None = 16, **options: Any) -> None:
        super().__init__(behaviour, **options)
        self.models = [{"id": "reward", "max_model_len": longest}]

    def completion(self, request: dict[str, Any]) -> dict[str, Any]:
        sums = [float(sum(sequence)) for sequence in request["input"]]
        return {"data": [{"index": i, "probs": [value]} for i, value in reversed(list(enumerate(sums)))]}
