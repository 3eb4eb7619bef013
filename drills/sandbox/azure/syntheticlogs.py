"""Compute the records of tables named ``Firebreak_<N>MiB_CL``, so that a capture can read any amount of
log.

Nothing is held: a record is made when it is asked for. Four records at a time share one TimeGenerated, as
records of one batch do, so that whoever pages by time alone loses or repeats some.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

NAME: Final = re.compile(r"Firebreak_(\d{1,6})MiB_CL")
MESSAGE_BYTES: Final = 16 * 1024
RECORDS_PER_MIB: Final = 1024 * 1024 // MESSAGE_BYTES
TOGETHER: Final = 4
# One batch per millisecond, the last one when the sandbox started: always inside an incident's window.
_LAST_AT_MS: Final = int(time.time() * 1000)
_FILLER: Final = "abcdefghijklmnopqrstuvwxyz0123456789" * (MESSAGE_BYTES // 36 + 1)


def records(table: str, since: str) -> Iterator[dict[str, Any]] | None:
    """Yield a synthetic table's records from a time on, in order of time and id; None for any other table."""
    match = NAME.fullmatch(table)
    if not match:
        return None
    total = int(match[1]) * RECORDS_PER_MIB
    return (_record(index, total) for index in range(_first(since, total), total))


def _record(index: int, total: int) -> dict[str, Any]:
    head = f'{{"event":{index},"kind":"inference","text":"'
    return {
        "TenantId": "00000000-0000-0000-0000-000000000000",
        "TimeGenerated": _stamp(_at(index, total)),
        "Message": f'{head}{_FILLER[: MESSAGE_BYTES - len(head) - 2]}"}}',
        "Type": f"Firebreak_{total // RECORDS_PER_MIB}MiB_CL",
        "_ItemId": f"{total}-{index:012d}",
    }


def _at(index: int, total: int) -> int:
    return _LAST_AT_MS - total // TOGETHER + 1 + index // TOGETHER


def _first(since: str, total: int) -> int:
    """The first record that is not before a time."""
    if not since:
        return 0
    moment = datetime.fromisoformat(since[:23] + "+00:00")
    batch = int(moment.timestamp() * 1000) - _at(0, total)
    return min(total, max(0, batch * TOGETHER))


def _stamp(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}0000Z"
