"""Keep the messages of Service Bus entities: locks, delivery counts, dead letters, and peeking that
touches nothing.

Used under the sandbox's lock only. Azure docs, "Message transfers, locks, and settlement", "Message
browsing", "Overview of Service Bus dead-letter queues".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

from drills.sandbox.azure.clock import seconds
from drills.sandbox.azure.state import on_reset

DEAD_LETTERS: Final = "/$deadletterqueue"
LOCK_SECONDS: Final = 60.0
"""Default lock duration of a queue ("Message transfers, locks, and settlement")."""
MAX_DELIVERIES: Final = 10
"""Default maximum delivery count; the message then goes to the dead letters."""
PEEK_BYTES: Final = 256 * 1024
"""One answer of the management link holds about that much, so fewer messages than asked may come."""


@dataclass
class Message:
    """One message as its sender wrote it, and what the service adds."""

    sequence_number: int
    payload: bytes
    """The sections from properties on, byte for byte."""
    annotations: Mapping[str | bytes, Any]
    enqueued_at: float
    delivery_count: int = 0
    locked_until: float = 0.0
    lock_token: UUID = field(default_factory=uuid4)

    def locked(self, now: float) -> bool:
        """Whether a receiver holds it."""
        return self.locked_until > now


class Queue:
    """The messages of a queue, of a subscription, or of their dead letters, in order of arrival."""

    def __init__(self, dead_letters: Queue | None) -> None:
        """Start empty; without dead letters it is the dead letters of another one."""
        self._messages: dict[int, Message] = {}
        self._next = 1
        self.dead_letters = dead_letters
        self.lock_seconds = LOCK_SECONDS

    def add(self, payload: bytes, annotations: Mapping[str | bytes, Any]) -> None:
        """Append a message under the next sequence number."""
        message = Message(self._next, payload, dict(annotations), seconds())
        self._messages[self._next] = message
        self._next += 1

    def peek(self, sequence_number: int, most: int) -> list[Message]:
        """Show messages from a sequence number on, locked ones too; changes nothing."""
        self._expire()
        chosen: list[Message] = []
        size = 0
        for number, message in sorted(self._messages.items()):
            if number < sequence_number:
                continue
            if len(chosen) >= most or (chosen and size + len(message.payload) > PEEK_BYTES):
                break
            chosen.append(message)
            size += len(message.payload)
        return chosen

    def lock_next(self, *, delete: bool) -> Message | None:
        """Hand the oldest free message to a receiver: locked, or deleted at once."""
        self._expire()
        now = seconds()
        free = (m for _, m in sorted(self._messages.items()) if not m.locked(now))
        message = next(free, None)
        if message is None:
            return None
        if delete:
            del self._messages[message.sequence_number]
        else:
            message.locked_until, message.lock_token = now + self.lock_seconds, uuid4()
        return message

    def settle(self, message: Message, outcome: str, *, failed: bool = False) -> None:
        """Take a receiver's word on a message that it had locked."""
        if self._messages.get(message.sequence_number) is not message:
            return  # the lock had ended, and somebody else has settled it
        message.locked_until = 0.0
        if outcome == "accepted":
            del self._messages[message.sequence_number]
        elif outcome == "rejected":
            self._bury(message)
        elif outcome == "modified" and failed:
            self._count(message)

    def count(self) -> int:
        """How many messages there are, locked ones too."""
        self._expire()
        return len(self._messages)

    def _expire(self) -> None:
        """A lock that runs out counts as a delivery."""
        now = seconds()
        for message in list(self._messages.values()):
            if message.locked_until and not message.locked(now):
                message.locked_until = 0.0
                self._count(message)

    def _count(self, message: Message) -> None:
        message.delivery_count += 1
        if message.delivery_count >= MAX_DELIVERIES:
            self._bury(message)

    def _bury(self, message: Message) -> None:
        if self.dead_letters is not None:
            del self._messages[message.sequence_number]
            self.dead_letters.add(message.payload, message.annotations)


class Messages:
    """Every entity's messages, by lower-cased resource id (and ``/$deadletterqueue`` for dead letters)."""

    def __init__(self) -> None:
        """Start without any."""
        self._queues: dict[str, Queue] = {}
        self._listeners: dict[object, Callable[[], None]] = {}

    def of(self, entity_id: str) -> Queue:
        """The messages of a queue or subscription, or of its dead letters."""
        key = entity_id.lower()
        if key not in self._queues:
            plain = key.removesuffix(DEAD_LETTERS)
            buried = self._queues.setdefault(plain + DEAD_LETTERS, Queue(None))
            self._queues.setdefault(plain, Queue(buried))
        return self._queues[key]

    def contents(self) -> Iterator[tuple[str, Queue]]:
        """Yield every entity's messages, dead letters too."""
        yield from list(self._queues.items())

    def clear(self) -> None:
        """Forget every message."""
        self._queues.clear()

    def listen(self, owner: object, changed: Callable[[], None]) -> None:
        """Call back when a message has come in."""
        self._listeners[owner] = changed

    def stop_listening(self, owner: object) -> None:
        """End the calls."""
        self._listeners.pop(owner, None)

    def announce(self) -> None:
        """Tell the listeners that a message has come in."""
        for changed in self._each_listener():
            changed()

    def _each_listener(self) -> Iterator[Callable[[], None]]:
        yield from list(self._listeners.values())


messages = Messages()
on_reset(messages.clear)
