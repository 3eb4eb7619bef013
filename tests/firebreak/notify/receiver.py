"""A pager's side of the wire: an HTTP server on loopback that keeps what it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What arrived, and how the next messages are answered."""

    url: str = ""
    status: int = 202
    messages: list[Any] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    """Path to the JSON document that is answered there."""

    lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        with self.lock:  # each request has a thread of its own
            self.bodies.append(body)
            self.paths.append(request.path)
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            if request.headers.get_content_type() != "application/x-www-form-urlencoded":
                self.messages.append(json.loads(body))

    def addressed(self) -> list[tuple[str, Any]]:
        """Every message with the path that it went to."""
        with self.lock:
            return list(zip(self.paths, self.messages, strict=True))


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver for the length of a block."""
    seen = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if seen.status < 300:
                seen.keep(self, body)
            self.send_response(seen.status)
            self.end_headers()
            self.wfile.write(json.dumps(seen.answers.get(self.path)).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of http.server
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
