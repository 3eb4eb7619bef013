"""Start, steer and read the AWS sandbox from another process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drills.sandbox.client import Calls, ControlClient, SandboxError, launched

__all__ = ["AccessKey", "Calls", "SandboxClient", "SandboxError", "start_sandbox"]


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
class SandboxClient(ControlClient):
    """The control API of a running sandbox. A fault's place is its `service`."""

    def bootstrap(self, account: str) -> AccessKey:
        """Return an administrator's key of an account."""
        answer = self.request("POST", "/bootstrap", {"account": account})
        return AccessKey(account, answer["access_key_id"], answer["secret_access_key"])

    def expire_session(self, access_key_id: str) -> bool:
        """End a session as if its time had passed."""
        return bool(self.request("POST", "/expire-session", {"access_key_id": access_key_id})["expired"])


@contextmanager
def start_sandbox(*, log: Path | None = None) -> Iterator[SandboxClient]:
    """Run a sandbox process on a free port for as long as the block lasts."""
    with launched("drills.sandbox.aws.server", log=log) as process:
        yield SandboxClient(process.ready, pid=process.pid)
