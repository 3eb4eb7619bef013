"""What a test sees and changes of the calls that the product makes through boto3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def hooked(client: Any, event: str, hook: Callable[..., None]) -> Iterator[None]:
    """Call the hook at an event of the client, for the length of a block."""
    client.meta.events.register(event, hook)
    try:
        yield
    finally:
        client.meta.events.unregister(event, hook)
