"""Answer long polls at once: moto waits inside the call, and so inside the lock around the emulator.

A long poll may come back empty (SQS developer guide, "Amazon SQS short and long polling").
"""

from __future__ import annotations

from typing import Any

from moto.sqs.models import SQSBackend


def apply() -> None:
    """Receive without waiting."""
    receive: Any = SQSBackend.receive_message

    def receive_now(
        self: SQSBackend, queue_name: str, count: int, _wait_seconds: int, *args: Any, **kwargs: Any
    ) -> Any:
        return receive(self, queue_name, count, 0, *args, **kwargs)

    setattr(SQSBackend, "receive_message", receive_now)  # noqa: B010 - mypy forbids assigning methods
