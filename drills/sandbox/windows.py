"""Collect what interfaces saw into windows of time, each of which is due some time after it closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

ContentT = TypeVar("ContentT")
SHORTEST_SECONDS = 0.001


def closing(at: float, length: float) -> float:
    """Return the end of the window that a moment falls in; windows are aligned to their length."""
    length = max(length, SHORTEST_SECONDS)
    return (at // length + 1) * length


class Windows(Generic[ContentT]):
    """The windows that were not handed on yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self._windows: dict[tuple[str, float], ContentT] = {}

    def clear(self) -> None:
        """Forget every window."""
        self._windows.clear()

    def open(self, key: str, closes_at: float, new: Callable[[], ContentT]) -> ContentT:
        """Return the window of a key that closes at that time, made if need be."""
        found = self._windows.get((key, closes_at))
        if found is None:
            found = self._windows[key, closes_at] = new()
        return found

    def due(self, now: float, delay: float) -> list[ContentT]:
        """Take out every window that closed at least `delay` seconds ago, the oldest first."""
        ready = sorted((at, key) for key, at in self._windows if at + delay <= now)
        return [self._windows.pop((key, at)) for at, key in ready]
