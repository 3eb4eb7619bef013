"""A vault in a local folder, for tests and offline work.

Versions and locks are enforced by this class and by read-only files, not by an outside party: whoever
owns the folder can still delete it. That is why it is not offered as a production store.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from firebreak.errors import EvidenceError
from firebreak.evidence.layout import folder, safe
from firebreak.model import Finding, Method, Stored

CHUNK = 1 << 20
"""Bytes held in memory at one time."""
_VERSIONS = "%"
"""Ends the folder of one object's versions; no key can contain it (layout.safe)."""


class LocalVault:
    """Keeps every version of every object, read-only and refused to delete until its lock ends."""

    def __init__(self, root: Path, retention: timedelta = timedelta(days=365)) -> None:
        self.root = Path(root).resolve()
        self.retention = retention
        self._objects = self.root / "objects"
        self._hidden = self.root / "hidden"

    def put(self, key: str, body: bytes | Iterable[bytes], *, media_type: str = "application/json") -> Stored:
        """Store and lock a new version, streaming ``body``."""
        folder = self._folder(key)
        folder.mkdir(parents=True, exist_ok=True)
        version = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        partial = folder / f"{version}.partial"
        sha256, size = _write(partial, [body] if isinstance(body, bytes) else body)
        locked_until = datetime.now(UTC) + self.retention
        record = {"locked_until": locked_until.isoformat(), "media_type": media_type}
        (folder / f"{version}.json").write_text(json.dumps(record))
        partial.chmod(0o444)
        partial.rename(folder / version)
        return Stored(
            uri=self.uri(key), version_id=version, sha256=sha256, size=size, locked_until=locked_until
        )

    def read(self, stored: Stored) -> Iterator[bytes]:
        """Stream exactly that version; raises EvidenceError when it is gone or its hash differs."""
        digest = hashlib.sha256()
        try:
            with self._file(stored).open("rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    yield chunk
        except FileNotFoundError as error:
            raise EvidenceError("this version is not in the vault", resource=stored.uri) from error
        if digest.hexdigest() != stored.sha256:
            raise EvidenceError("stored evidence was altered: its SHA-256 differs", resource=stored.uri)

    def find(self, uri: str) -> Stored:
        """Hash the newest version at a uri; raises EvidenceError when there is none."""
        versions = self._versions(self._folder(self._key(uri)))
        if not versions:
            raise EvidenceError("there is no such evidence", resource=uri)
        newest = versions[-1]
        with newest.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Stored(
            uri=uri,
            version_id=newest.name,
            sha256=sha256,
            size=newest.stat().st_size,
            locked_until=self._locked_until(newest),
        )

    def list(self, prefix: str) -> Iterator[str]:
        """List the uris whose keys begin with a prefix, sorted."""
        folders = (path for path in self._objects.rglob(f"*{_VERSIONS}") if self._versions(path))
        keys = (str(path.relative_to(self._objects)).removesuffix(_VERSIONS) for path in folders)
        yield from (self.uri(key) for key in sorted(keys) if key.startswith(prefix))

    def uri(self, key: str) -> str:
        """Name the object under ``key``, or the folder of keys that begin with it."""
        return f"{self.root.as_uri()}/{key}"

    def delete(self, stored: Stored) -> None:
        """Delete a version whose lock has ended; raises EvidenceError while it is locked."""
        file = self._file(stored)
        if not file.is_file():
            raise EvidenceError("this version is not in the vault", resource=stored.uri)
        locked_until = self._locked_until(file)
        if locked_until > datetime.now(UTC):
            raise EvidenceError(f"locked until {locked_until.isoformat()}", resource=stored.uri)
        file.unlink()
        file.with_name(f"{file.name}.json").unlink()

    def prove_locked(self, stored: Stored) -> Finding:
        """Try to delete that version, and report that the vault refused."""
        try:
            if self._locked_until(self._file(stored)) <= datetime.now(UTC):
                return _finding("not locked: a delete would succeed", holds=False)
            self.delete(stored)
        except EvidenceError as refused:
            still_there = self._file(stored).is_file()
            return _finding(f"delete refused: {refused.message}", holds=still_there)
        return _finding("delete was not refused", holds=False)

    def hide(self, key: str, secret: bytes) -> None:
        """Keep a short-lived secret, readable for its owner only, until ``forget``."""
        path = self._hidden / safe(key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
        partial.replace(path)

    def reveal(self, key: str) -> bytes | None:
        """Return the hidden secret, or None when there is none."""
        path = self._hidden / safe(key)
        return path.read_bytes() if path.is_file() else None

    def forget(self, prefix: str) -> None:
        """Delete every hidden secret below a folder's prefix; harmless when there is none."""
        path = self._hidden / safe(folder(prefix).rstrip("/"))
        if path.is_dir():
            shutil.rmtree(path)

    def _key(self, uri: str) -> str:
        start = f"{self.root.as_uri()}/"
        if not uri.startswith(start):
            raise EvidenceError(f"this uri is not in the vault {start}", resource=uri)
        return uri.removeprefix(start)

    def _folder(self, key: str) -> Path:
        path = self._objects / safe(key)
        return path.with_name(path.name + _VERSIONS)

    def _file(self, stored: Stored) -> Path:
        return self._folder(self._key(stored.uri)) / safe(stored.version_id)

    def _versions(self, folder: Path) -> Sequence[Path]:
        if not folder.is_dir():
            return ()
        return sorted(path for path in folder.iterdir() if path.suffix not in {".json", ".partial"})

    def _locked_until(self, file: Path) -> datetime:
        try:
            record = json.loads(file.with_name(f"{file.name}.json").read_text())
        except FileNotFoundError as error:
            raise EvidenceError("this version is not in the vault", resource=str(file)) from error
        return datetime.fromisoformat(record["locked_until"])


def _write(path: Path, body: Iterable[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        for chunk in body:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), size


def _finding(observed: str, *, holds: bool) -> Finding:
    return Finding(holds=holds, method=Method.LIVE_PROBE, observed=observed, observed_at=datetime.now(UTC))
