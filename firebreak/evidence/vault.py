"""The seam to immutable storage: what every evidence store promises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from firebreak.model import Finding, Stored


class Vault(Protocol):
    """An immutable object store in an account that the workload cannot reach.

    Keys are relative paths such as ``INC-1/data/phases/1/...``. Every object put is locked at once
    with the store's retention, and the lock is read back before ``put`` returns.
    """

    def put(self, key: str, body: bytes | Iterable[bytes], *, media_type: str = "application/json") -> Stored:
        """Store and lock an object, streaming ``body``; memory stays flat."""
        ...

    def read(self, stored: Stored) -> Iterator[bytes]:
        """Stream exactly that version; raises EvidenceError when it is gone or its hash differs."""
        ...

    def find(self, uri: str) -> Stored:
        """The newest version at a uri, hashed again; raises EvidenceError when there is none."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """The uris below a key prefix, sorted."""
        ...

    def uri(self, key: str) -> str:
        """The uri under which ``key`` is stored."""
        ...

    def prove_locked(self, stored: Stored) -> Finding:
        """Try to delete that version, and report that the store refused."""
        ...

    def hide(self, key: str, secret: bytes) -> None:
        """Keep a short-lived secret, encrypted and unlocked, until ``forget``."""
        ...

    def reveal(self, key: str) -> bytes | None:
        """The hidden secret, or None when there is none."""
        ...

    def forget(self, prefix: str) -> None:
        """Delete every hidden secret below a key prefix, which ends in a slash; harmless when there is none.

        Any other prefix is refused with EvidenceError: ``sealed/INC-1`` also begins what INC-10 hides.
        """
        ...
