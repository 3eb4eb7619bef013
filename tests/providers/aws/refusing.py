"""Services that refuse a call for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def refusing(client: Any, operation: str, code: str, status: int) -> Iterator[None]:
    """Have every call of an operation answered with this error code."""
    event = f"after-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"

    def refuse(parsed: dict[str, Any], http_response: Any, **_: Any) -> None:
        http_response.status_code = status
        parsed["Error"] = {"Code": code, "Message": "refused"}

    client.meta.events.register(event, refuse)
    try:
        yield
    finally:
        client.meta.events.unregister(event, refuse)
