"""Start a sandbox in a process of its own, steer it and read it over its control API."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from drills.sandbox.control import PREFIX

JsonObject = dict[str, Any]
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02
# The control API is near, whatever proxy the environment names.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SandboxError(RuntimeError):
    """The sandbox refused a request or did not start."""


@dataclass(frozen=True)
class Calls:
    """A page of recorded calls and where the next one starts."""

    calls: list[JsonObject]
    next: int


@dataclass(frozen=True)
class ControlClient:
    """The control API of a running sandbox, as far as every cloud's has it."""

    url: str
    pid: int | None = field(default=None, kw_only=True)

    def healthy(self) -> bool:
        """Tell whether the sandbox serves."""
        return self.request("GET", "/health").get("status") == "ok"

    def reset(self) -> None:
        """Forget everything that was created and return to the default settings."""
        self.request("POST", "/reset")

    def configure(self, **changes: float) -> JsonObject:
        """Change settings (the cloud's state.py names them) and return all of them."""
        return self.request("POST", "/settings", changes)

    def inject(self, kind: str, **fault: str | int | bool) -> int:
        """Arm a fault by place, operation and the rest that drills/sandbox/faults.py reads."""
        return int(self.request("POST", "/faults", {"kind": kind, **fault})["id"])

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self.request("DELETE", "/faults")

    def calls(self, since: int | None = None, *, mutating: bool = False, principal: str = "") -> Calls:
        """Return the calls after a sequence number, or all that are kept (drills/sandbox/calls.py).

        Raises SandboxError when some of those after the number are not kept any more.
        """
        query: dict[str, str | int] = {"principal": principal, "mutating": int(mutating)}
        query |= {} if since is None else {"since": since}
        answer = self.request("GET", f"/calls?{urlencode(query)}")
        return Calls(answer["calls"], answer["next"])

    def call_counts(self) -> dict[str, int]:
        """Return how many calls each service answered since the last reset, however many are kept."""
        return dict(self.request("GET", "/calls/counts")["counts"])

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> JsonObject:
        """Call a control route and return its document."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{PREFIX}{path}", data=data, method=method)  # noqa: S310 - own URL
        try:
            with _direct.open(request, timeout=_START_SECONDS) as response:
                return dict(json.load(response))
        except urllib.error.HTTPError as error:
            message = f"{method} {path}: {error.code} {error.read().decode(errors='replace')}"
            raise SandboxError(message) from error


@dataclass(frozen=True)
class Launched:
    """A sandbox process that serves, and what it wrote when it did."""

    ready: str
    pid: int


@contextmanager
def launched(
    module: str, *arguments: str, log: Path | None, environment: Mapping[str, str] | None = None
) -> Iterator[Launched]:
    """Run a sandbox's server module for as long as the block lasts; --ready-file says that it serves."""
    with tempfile.TemporaryDirectory(prefix="firebreak-sandbox-") as folder:
        ready_file = Path(folder) / "ready"
        log_path = log or Path(folder) / "sandbox.log"
        command = [sys.executable, "-m", module, "--ready-file", str(ready_file), *arguments]
        with log_path.open("wb") as output:
            process = _started(command, output, environment)
            try:
                yield Launched(_wait_until_ready(process, ready_file, log_path), process.pid)
            finally:
                _stop(process)


def _started(
    command: Sequence[str], output: Any, environment: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(command, cwd=root, env=environment, stdout=output, stderr=output)


def _wait_until_ready(process: subprocess.Popen[bytes], ready_file: Path, log_path: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if ready_file.exists():
            return ready_file.read_text(encoding="utf-8")
        if process.poll() is not None:
            break
        time.sleep(_POLL_SECONDS)
    raise SandboxError(f"the sandbox did not start: {log_path.read_text(errors='replace')[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
