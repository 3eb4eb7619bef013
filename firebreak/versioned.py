"""What every store of locked versions does alike; a cloud adds how it writes, lists, locks and deletes.

The names below the store's prefix are the keys of the evidence, and those of the hidden secrets, which are
never listed.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from firebreak.errors import EvidenceError
from firebreak.evidence.layout import folder
from firebreak.evidence.streaming import Tally
from firebreak.measure import found, now
from firebreak.model import Finding, Method, Stored

HIDDEN = ".hidden/"
"""Where short-lived secrets are, below the prefix."""
_KEY = re.compile(r"^[\w!.*'()/=+@,:-]{1,900}$")


@dataclass(frozen=True)
class Refusal:
    """How a store refused to delete a version."""

    said: str
    by_lock: bool
    """Whether nothing but the lock explains the answer."""
    request_id: str | None = None


class VersionedVault(ABC):
    """An evidence store under one prefix, which keeps every version. Safe to share between threads."""

    internal: ClassVar[tuple[str, ...]] = (HIDDEN,)
    """Starts of the names that are no evidence."""
    to_lock: ClassVar[str]
    """What the operator does when the store locks nothing."""

    def __init__(self, home: str, prefix: str) -> None:
        self.home = home
        """The uri of the bucket or container, without a slash at its end."""
        self.prefix = prefix
        """Empty, or with a slash at its end."""

    def put(self, key: str, body: bytes | Iterable[bytes], *, media_type: str = "application/json") -> Stored:
        """Store and lock an object, streaming ``body``; memory stays flat."""
        name, tally = self._name(key), Tally()
        with self._translated(self._uri(name)):
            version = self._write(name, body, tally, media_type)
            locked_until = self._read_lock(name, version)
        if locked_until is None:
            raise EvidenceError(
                "the store did not lock the object", resource=self._uri(name), remedy=self.to_lock
            )
        return _stored(self._uri(name), version, tally, locked_until)

    def read(self, stored: Stored) -> Iterator[bytes]:
        """Stream exactly that version; raises EvidenceError when it is gone or hashes differently."""
        tally = Tally()
        for chunk in self._stream(self._name_of(stored.uri), stored.version_id):
            yield tally.add(chunk)
        actual = tally.sha256
        if actual != stored.sha256:
            raise EvidenceError(f"stored bytes hash to {actual}, not {stored.sha256}", resource=stored.uri)

    def find(self, uri: str) -> Stored:
        """The newest version at a uri, hashed again; raises EvidenceError when there is none."""
        name = self._name_of(uri)
        version = self._newest(name)
        if version is None:
            raise EvidenceError("there is no evidence at this uri", resource=uri)
        tally = Tally()
        for chunk in self._stream(name, version):
            tally.add(chunk)
        with self._translated(uri):
            locked_until = self._read_lock(name, version)
        return _stored(uri, version, tally, locked_until)

    def list(self, prefix: str) -> Iterator[str]:
        """The uris below a key prefix, sorted. What deletes the current version hides nothing."""
        last = ""
        for name in self._names(self._name(prefix) if prefix else self.prefix):
            if name != last and not name.removeprefix(self.prefix).startswith(self.internal):
                yield self._uri(name)
            last = name

    def uri(self, key: str) -> str:
        """The uri under which ``key`` is stored."""
        return self._uri(self._name(key))

    def prove_locked(self, stored: Stored) -> Finding:
        """Try to delete that version, and report that the store refused.

        What has no lock is not tried, because the proof is not worth the evidence.
        """
        name = self._name_of(stored.uri)
        with self._translated(stored.uri):
            locked_until = self._read_lock(name, stored.version_id)
            if locked_until is None or locked_until <= now():
                return found(Method.LIVE_PROBE, "not locked: no retention", holds=False, uri=stored.uri)
            self._prove_may_delete()
        return _judged(self._try_delete(name, stored.version_id), stored, locked_until)

    def reveal(self, key: str) -> bytes | None:
        """The hidden secret, or None when there is none."""
        name = self._hidden(key)
        try:
            sealed = b"".join(self._stream(name, None))
        except EvidenceError:
            return None  # nothing is hidden under this key: the promise of this method
        with self._translated(self._uri(name)):
            return self._unseal(key, sealed)

    # names

    def _name(self, key: str) -> str:
        if not _KEY.fullmatch(key) or key.startswith("/") or {".", ".."} & set(key.split("/")):
            raise EvidenceError(f"{key!r} is not a key of the evidence store")
        return self.prefix + key

    def _hidden(self, key: str) -> str:
        return self.prefix + HIDDEN + self._name(key).removeprefix(self.prefix)

    def _hidden_folder(self, prefix: str) -> str:
        return self._hidden(folder(prefix))

    def _uri(self, name: str) -> str:
        return f"{self.home}/{name}"

    def _name_of(self, uri: str) -> str:
        start = f"{self.home}/{self.prefix}"
        if not uri.startswith(start):
            raise EvidenceError(f"not in the evidence store {start}", resource=uri)
        return uri.removeprefix(f"{self.home}/")

    def _gone(self, name: str) -> EvidenceError:
        return EvidenceError("evidence is gone from the store", resource=self._uri(name))

    # what a cloud adds

    @abstractmethod
    def _translated(self, uri: str) -> AbstractContextManager[None]:
        """Turn the cloud's errors raised inside into FirebreakErrors about a uri."""

    @abstractmethod
    def _write(self, name: str, body: bytes | Iterable[bytes], tally: Tally, media_type: str) -> str:
        """Write a new version under its lock, counting every byte; returns the version's id."""

    @abstractmethod
    def _read_lock(self, name: str, version: str) -> datetime | None:
        """The end of the retention in the mode that was asked for; None when there is no such retention."""

    @abstractmethod
    def _stream(self, name: str, version: str | None) -> Iterator[bytes]:
        """Stream a version, by default the current one; raises ``_gone`` where there is none."""

    @abstractmethod
    def _names(self, start: str) -> Iterator[str]:
        """The names below a start, sorted, one for each version."""

    @abstractmethod
    def _newest(self, name: str) -> str | None:
        """The id of the newest version of exactly that name, be it current or not."""

    @abstractmethod
    def _try_delete(self, name: str, version: str) -> Refusal | None:
        """Delete a version; returns the refusal, or None when it is gone."""

    @abstractmethod
    def _unseal(self, key: str, sealed: bytes) -> bytes:
        """Decrypt what was hidden under a key."""

    def _prove_may_delete(self) -> None:
        """Raise PermanentCloudError where a refusal to delete would prove nothing.

        A store whose locks answer in words of their own, which no missing permission gives, needs no control.
        """
        return


def _stored(uri: str, version: str, tally: Tally, locked_until: datetime | None) -> Stored:
    return Stored(
        uri=uri, version_id=version, sha256=tally.sha256, size=tally.size, locked_until=locked_until
    )


def _judged(refusal: Refusal | None, stored: Stored, locked_until: datetime) -> Finding:
    detail: dict[str, Any] = {
        "uri": stored.uri,
        "version_id": stored.version_id,
        "locked_until": locked_until.isoformat(),
    }
    if refusal is None:
        return found(Method.LIVE_PROBE, "the store deleted a locked version", holds=False, **detail)
    if refusal.request_id is not None:
        detail["request_id"] = refusal.request_id
    return found(
        Method.LIVE_PROBE,
        f"{'denied' if refusal.by_lock else 'unclear'}: {refusal.said}",
        holds=refusal.by_lock,
        inconclusive=not refusal.by_lock,
        **detail,
    )
