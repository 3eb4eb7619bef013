"""Take a stream of bytes apart without holding it: counted, hashed, and cut into parts of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any


@dataclass
class Tally:
    """Counts and hashes what passes through."""

    digest: Any = field(default_factory=sha256)
    size: int = 0

    def add(self, chunk: bytes) -> bytes:
        """Count a chunk and hand it on."""
        self.digest.update(chunk)
        self.size += len(chunk)
        return chunk

    @property
    def sha256(self) -> str:
        """The hash so far, in hex."""
        return str(self.digest.hexdigest())


def cut(body: bytes | Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Cut a stream into parts of ``size``, each with whether it is the last; that one may be shorter."""
    buffer = bytearray()
    for chunk in (body,) if isinstance(body, bytes) else body:
        buffer += chunk
        while len(buffer) > size:
            with memoryview(buffer) as view:
                part = bytes(view[:size])
            del buffer[:size]
            yield part, False
    yield bytes(buffer), True
