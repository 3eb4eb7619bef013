"""Compare what was frozen with what is there now, whatever the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from firebreak.measure import found
from firebreak.model import Finding, JsonObject, Method
from firebreak.parallel import each_of

REHASH_LIMIT = 64 * 1024 * 1024
"""Above this size a later observation compares the version instead of reading the object again."""
_SHOWN, _LISTED = 3, 20


def unchanged(
    frozen: Sequence[JsonObject],
    difference: Callable[[JsonObject], str],
    limit: int | None,
    noun: str,
    **detail: Any,
) -> Finding:
    """Judge objects by how each differs from what was recorded; those up to the limit, by their bytes too."""
    wrong = [each for each in each_of(difference, frozen) if each]
    rehashed = sum(limit is None or each["size"] <= limit for each in frozen)
    named = f"{len(wrong)} of {len(frozen)} {noun} differ: {'; '.join(wrong[:_SHOWN])}"
    return found(
        Method.CONFIGURATION,
        named if wrong else f"{len(frozen)} {noun} as frozen",
        holds=not wrong,
        differences=wrong[:_LISTED],
        rehashed=rehashed,
        compared_by_version=len(frozen) - rehashed,
        **detail,
    )


def custody_of(ref: str, role: str, record: JsonObject, approved: str | None) -> JsonObject:
    """What the chain of custody says of one declared object: its hash, and whether that is approved."""
    return {
        "ref": ref,
        "role": role,
        "version_id": record["version_id"],
        "size": record["size"],
        "sha256": record["sha256"],
        "approved": approved,
        "matches": record["sha256"] == approved if approved else None,
    }
