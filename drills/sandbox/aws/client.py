"""Start, steer and read the sandbox from another process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05


class SandboxError(RuntimeError):
    """The sandbox refused a control request or did not start."""


@dataclass(frozen=True)
class AccessKey:
    """An access key of a sandbox account."""

    account: str
    access_key_id: str
    secret_access_key: str

    def boto3_arguments(self) -> dict[str, str]:
        """Return the arguments of boto3.client that use this key."""
        return {"aws_access_key_id": self.access_key_id, "aws_secret_access_key": self.secret_access_key}


@dataclass(frozen=True)
class Calls:
    """A page of recorded calls and where the next one starts."""

    calls: list[dict[str, Any]]
    next: int


@dataclass(frozen=True)
class SandboxClient:
    """The control API of a running sandbox."""

    url: str
    pid: int | None = None

    def healthy(self) -> bool:
        """Tell whether the sandbox serves."""
        return self.request("GET", "/health").get("status") == "ok"

    def reset(self) -> None:
        """Empty every account and return to the default settings."""
        self.request("POST", "/reset")

    def configure(self, **changes: float) -> dict[str, float]:
        """Change settings: latency_ms, latency_jitter_ms, iam_propagation_seconds, flow_*_seconds."""
        return self.request("POST", "/settings", changes)

    def bootstrap(self, account: str) -> AccessKey:
        """Return an administrator's key of an account."""
        answer = self.request("POST", "/bootstrap", {"account": account})
        return AccessKey(account, answer["access_key_id"], answer["secret_access_key"])

    def inject(
        self,
        kind: str,
        *,
        service: str = "*",
        operation: str = "*",
        times: int = 1,
        once_per_operation: bool = False,
    ) -> int:
        """Arm a fault and return its id."""
        fault = {"service": service, "operation": operation, "kind": kind, "times": times}
        return int(self.request("POST", "/faults", {**fault, "once_per_operation": once_per_operation})["id"])

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self.request("DELETE", "/faults")

    def calls(self, since: int = 0, *, mutating: bool = False, principal: str = "") -> Calls:
        """Return the calls after a sequence number."""
        query: dict[str, str | int] = {"since": since, "principal": principal, "mutating": int(mutating)}
        answer = self.request("GET", f"/calls?{urlencode(query)}")
        return Calls(answer["calls"], answer["next"])

    def expire_session(self, access_key_id: str) -> bool:
        """End a session as if its time had passed."""
        return bool(self.request("POST", "/expire-session", {"access_key_id": access_key_id})["expired"])

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call a control route and return its document."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_sandbox{path}", data=data, method=method)  # noqa: S310 - own URL
        try:
            with urllib.request.urlopen(request, timeout=_START_SECONDS) as response:  # noqa: S310 - own URL
                return dict(json.load(response))
        except urllib.error.HTTPError as error:
            message = f"{method} {path}: {error.code} {error.read().decode(errors='replace')}"
            raise SandboxError(message) from error


@contextmanager
def start_sandbox(*, log: Path | None = None) -> Iterator[SandboxClient]:
    """Run a sandbox process on a free port for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="firebreak-sandbox-") as folder:
        ready_file = Path(folder) / "url"
        log_path = log or Path(folder) / "sandbox.log"
        command = [sys.executable, "-m", "drills.sandbox.aws.server", "--ready-file", str(ready_file)]
        with log_path.open("wb") as output:
            process = subprocess.Popen(command, cwd=_root(), stdout=output, stderr=output)
            try:
                yield SandboxClient(_wait_for_url(process, ready_file, log_path), process.pid)
            finally:
                _stop(process)


def _root() -> Path:
    return Path(__file__).resolve().parents[3]


def _wait_for_url(process: subprocess.Popen[bytes], ready_file: Path, log_path: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if ready_file.exists():
            return ready_file.read_text(encoding="utf-8")
        if process.poll() is not None:
            break
        time.sleep(_POLL_SECONDS)
    message = f"the sandbox did not start: {log_path.read_text(errors='replace')[-4000:]}"
    raise SandboxError(message)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
