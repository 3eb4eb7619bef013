"""What the freezes share: probes that must be refused.

A refusal by a lock or hold is answered only to a caller who may do the thing otherwise, because Azure checks
the caller's rights first. So its code names both: the right was there, and the freeze stopped it.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
from azure.core.exceptions import AzureError

from firebreak.measure import found
from firebreak.model import Finding, Method
from providers.azure.answers import AzureFailure, RestError, error_code, request_id_of, status_of

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
