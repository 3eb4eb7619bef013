"""What a test sees and changes of the calls that the product makes through boto3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


@contextmanager
def hooked(client: Any, event: str, hook: Callable[..., None]) -> Iterator[None]:
    """Call the hook at an event of the client, for the length of a block."""
    client.meta.events.register(event, hook)
    try:
        yield
    finally:
        client.meta.events.unregister(event, hook)


def refusing(client: Any, operation: str, code: str, status: int) -> AbstractContextManager[None]:
    """Have every call of an operation answered with this error code, for the length of a block."""

    def refuse(parsed: dict[str, Any], http_response: Any, **_: Any) -> None:
        http_response.status_code = status
        parsed["Error"] = {"Code": code, "Message": "refused"}

    return hooked(
        client, f"after-call.{client.meta.service_model.service_id.hyphenize()}.{operation}", refuse
    )
