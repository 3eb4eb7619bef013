"""Record the calls that a sandbox answers, in their order and without the secrets in them."""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from drills.sandbox.control import ControlError, ControlRequest, Route

KEPT_CALLS = 100_000
"""As many of the newest calls are kept: of some fifty containments, in about 200 MB."""
_GONE = 410
_MAX_TEXT = 2048


class Recorded(Protocol):
    """What is kept of any cloud's call; a dataclass."""

    @property
    def seq(self) -> int:
        """Its number, from 1."""
        ...

    @property
    def service(self) -> str:
        """Which part of the cloud answered it."""
        ...

    @property
    def mutating(self) -> bool:
        """Whether it can change something."""
        ...


RecordedT = TypeVar("RecordedT", bound=Recorded)
FactsT = TypeVar("FactsT")


class DroppedError(LookupError):
    """Calls were asked for that are not kept any more."""


class Recorder(Generic[RecordedT, FactsT]):
    """Keep the newest calls in the order they were answered, and count all of them."""

    def __init__(self, kept: int = KEPT_CALLS) -> None:
        """Start with no calls; keep that many."""
        self._lock = threading.Lock()
        self._listeners: list[Callable[[RecordedT, FactsT], None]] = []
        self._calls: deque[RecordedT] = deque(maxlen=kept)
        self._counts: Counter[str] = Counter()

    def add(self, facts: FactsT, record: Callable[[int], RecordedT]) -> None:
        """Append what `record` makes of a call and its number, and tell the listeners."""
        with self._lock:
            recorded = record(self._counts.total() + 1)
            self._counts[recorded.service] += 1
            self._calls.append(recorded)
        for listener in self._listeners:
            listener(recorded, facts)

    def listen(self, listener: Callable[[RecordedT, FactsT], None]) -> Callable[[RecordedT, FactsT], None]:
        """Tell `listener` about every call from now on, before its caller gets the answer."""
        self._listeners.append(listener)
        return listener

    def since(self, seq: int | None = None) -> list[RecordedT]:
        """Return the calls after a number, or all kept ones; raises DroppedError where some are gone."""
        with self._lock:
            dropped = self._counts.total() - len(self._calls)
            if seq is not None and seq < dropped:
                raise DroppedError(f"calls {seq + 1} to {dropped} are not kept any more")
            return list(islice(self._calls, max(0, (seq or 0) - dropped), None))

    def counts(self) -> dict[str, int]:
        """Return how many calls each service answered, those included that are not kept any more."""
        with self._lock:
            return dict(self._counts)

    def clear(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._calls.clear()
            self._counts.clear()

    def serve(self, route: Route, principal_of: Callable[[RecordedT], str]) -> None:
        """Count the calls on the control API, and list them: of one principal, or only the mutating ones."""

        @route("GET", "/calls/counts")
        def count_calls(_request: ControlRequest) -> dict[str, Any]:
            return {"counts": self.counts()}

        @route("GET", "/calls")
        def list_calls(request: ControlRequest) -> dict[str, Any]:
            since = int(request.query["since"]) if "since" in request.query else None
            try:
                calls = self.since(since)
            except DroppedError as error:
                raise ControlError(str(error), _GONE) from error
            principal = request.query.get("principal", "")
            only_mutating = request.query.get("mutating") == "1"
            chosen: list[Any] = [
                call
                for call in calls
                if principal in principal_of(call) and (call.mutating or not only_mutating)
            ]
            return {
                "calls": [asdict(call) for call in chosen],
                "next": calls[-1].seq if calls else since or 0,
            }


@dataclass(frozen=True)
class Redaction:
    """What is left out of the values of a call."""

    secret_name: re.Pattern[str]
    """Names of members whose values are secrets."""
    depth: int

    def of(self, value: Any, name: str = "", depth: int = 0) -> Any:
        """Return a value without secrets, long texts and deep nesting."""
        if name and self.secret_name.search(name):
            return "[redacted]"
        if depth > self.depth:
            return "[nested]"
        if isinstance(value, Mapping):
            return {str(key): self.of(item, str(key), depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(item, name, depth + 1) for item in value]
        return _scalar(value)


def _scalar(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return f"[{len(value)} bytes]"
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
