"""What the freezes share: probes that must be refused, and work on many items at once.

A refusal by a lock or hold is answered only to a caller who may do the thing otherwise, because Azure checks
the caller's rights first. So its code names both: the right was there, and the freeze stopped it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import httpx
from azure.core.exceptions import AzureError

from firebreak.measure import found
from firebreak.model import Finding, Method
from providers.azure.answers import AzureFailure, RestError, error_code, request_id_of, status_of

T = TypeVar("T")
R = TypeVar("R")

_THREADS = 8
NO_CONTROL = "but it never worked before: no positive control"


def refused(
    title: str, attempt: Callable[[], object], codes: frozenset[str], *, controlled: bool = True
) -> Finding:
    """Try what must be refused, once; only a refusal by the freeze holds, with its positive control."""
    try:
        attempt()
    except (AzureError, RestError, httpx.HTTPError) as error:
        return _refusal(title, error, codes, controlled=controlled)
    return found(Method.LIVE_PROBE, f"{title}: not refused", holds=False)


def _refusal(title: str, error: AzureFailure, codes: frozenset[str], *, controlled: bool) -> Finding:
    code, status = error_code(error), status_of(error)
    seen = f"{title}: {code or type(error).__name__} ({status})"
    request_id = request_id_of(error)
    if code not in codes:
        return found(Method.LIVE_PROBE, seen, holds=False, inconclusive=True, request_id=request_id)
    return found(
        Method.LIVE_PROBE,
        f"denied: {seen}" if controlled else f"denied: {seen}, {NO_CONTROL}",
        holds=controlled,
        inconclusive=not controlled,
        request_id=request_id,
    )


def each_of(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Do the work on every item, a few at a time, and return the results in order.

    Each thread gets a copy of the caller's context, which says for whom it works and where it reports.
    """
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="firebreak-freeze") as pool:
        futures = [pool.submit(copy_context().run, work, item) for item in items]
        return [each.result() for each in futures]
