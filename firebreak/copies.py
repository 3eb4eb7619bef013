"""Copy objects into the vault, each as an exhibit, with an index that says which is which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from firebreak.capture import evidence_id
from firebreak.measure import Context, now
from firebreak.model import Exhibit, JsonObject
from firebreak.parallel import each_of

SMALL_BYTES = 1024 * 1024
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Opened:
    """An object that is being read: what its store says about it, and its bytes."""

    facts: JsonObject
    chunks: Iterator[bytes]


@dataclass(frozen=True)
class Original:
    """One object to copy."""

    source: str
    """Its uri, as the index and the exhibit name it."""
    size: int
    open: Callable[[], AbstractContextManager[Opened]]
    """Reads it once; raises FirebreakError."""


def copied(
    context: Context[Any], originals: Sequence[Original], copied_before: int, *, kind: str, acquired_by: str
) -> tuple[list[JsonObject], list[Exhibit]]:
    """Copy objects and return the rows of the index and the exhibits, in the order given.

    Small ones are copied a few at a time, larger ones one after the other, so that memory stays flat.
    """
    numbered = list(enumerate(originals, copied_before + 1))

    def copy(numbered_original: tuple[int, Original]) -> tuple[JsonObject, Exhibit]:
        number, original = numbered_original
        return _copy(context, original, number, kind, acquired_by)

    small = [each for each in numbered if each[1].size <= SMALL_BYTES]
    done = dict(zip((number for number, _ in small), each_of(copy, small), strict=True))
    done |= {each[0]: copy(each) for each in numbered if each[1].size > SMALL_BYTES}
    results = [done[number] for number, _ in numbered]
    return [row for row, _ in results], [exhibit for _, exhibit in results]


def _copy(
    context: Context[Any], original: Original, number: int, kind: str, acquired_by: str
) -> tuple[JsonObject, Exhibit]:
    key = f"{context.folder}/objects/{number:06d}.bin"
    with original.open() as opened:
        stored = context.vault.put(key, opened.chunks, media_type="application/octet-stream")
    exhibit = Exhibit(
        evidence_id=evidence_id(key),
        kind=kind,
        source=original.source,
        acquired_by=acquired_by,
        collected_at=now(),
        stored=stored,
    )
    row = {
        "source": original.source,
        **opened.facts,
        "size": stored.size,
        "sha256": stored.sha256,
        "exhibit": exhibit.evidence_id,
    }
    return row, exhibit
