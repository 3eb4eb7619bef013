"""A service on the loopback that answers as a test says, for what no faithful sandbox would do by itself."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Scripted:
    """The script and what was asked. The last answer to an address is repeated."""

    url: str = ""
    answers: dict[tuple[str, str], list[tuple[int, Any, dict[str, str]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    asked: list[Asked] = field(default_factory=list)

    def says(self, method: str, path: str, status: int, body: Any = None, **headers: str) -> None:
        named = {name.replace("_", "-"): value.replace("{url}", self.url) for name, value in headers.items()}
        self.answers[method, path].append((status, body, named))

    def answer(self, method: str, path: str) -> tuple[int, Any, dict[str, str]]:
        script = self.answers.get((method, path.partition("?")[0]))
        if not script:
            return 404, {"error": {"code": "ResourceNotFound", "message": path}}, {}
        return script.pop(0) if len(script) > 1 else script[0]

    def paths(self, method: str) -> list[str]:
        return [each.path for each in self.asked if each.method == method]


@contextmanager
def serving() -> Iterator[Scripted]:
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            named = {name.lower(): value for name, value in self.headers.items()}
            script.asked.append(Asked(self.command, self.path, named, body))
            status, answer, headers = script.answer(self.command, self.path)
            raw = b"" if answer is None else json.dumps(answer).replace("{url}", script.url).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(raw))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = _serve  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - same
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
