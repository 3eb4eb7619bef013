"""Keep blob content on disk, so that a capture of a gigabyte costs no memory."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Segment:
    """Bytes somewhere in the spool file."""

    offset: int
    size: int


class Spool:
    """One growing temporary file; what a reset forgets is given back to the disk."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="firebreak-blobs-")  # noqa: SIM115 - lives as long as the process
        self._lock = threading.Lock()
        self._end = 0

    def add(self, body: bytes) -> Segment:
        """Write a body behind all others."""
        with self._lock:
            offset, self._end = self._end, self._end + len(body)
        written = 0
        while written < len(body):
            written += os.pwrite(self._file.fileno(), body[written:], offset + written)
        return Segment(offset, len(body))

    def read(self, segments: Sequence[Segment], start: int, size: int) -> bytes:
        """Read a range across consecutive segments."""
        return b"".join(self.stream(segments, start, size))

    def stream(self, segments: Sequence[Segment], start: int, size: int) -> Iterator[bytes]:
        """Read a range in chunks."""
        for segment in segments:
            skipped = min(start, segment.size)
            wanted = min(segment.size - skipped, size)
            yield from self._chunks(segment.offset + skipped, wanted)
            start, size = start - skipped, size - wanted

    def _chunks(self, offset: int, size: int) -> Iterator[bytes]:
        while size > 0:
            chunk = os.pread(self._file.fileno(), min(size, _CHUNK), offset)
            if not chunk:
                return
            yield chunk
            offset, size = offset + len(chunk), size - len(chunk)

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._end = 0
            self._file.truncate(0)
