"""Keep connections to the played hosts open between calls: a new one costs six times as much as a call."""

from __future__ import annotations

import select
import ssl
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALL_SECONDS = 60.0
IDLE_SECONDS = 30.0
"""Well within the time for which the server keeps an idle connection (server.py)."""


@dataclass(frozen=True)
class _Idle:
    connection: HTTPSConnection
    since: float


_Key = tuple[str, str, str]
_lock = threading.Lock()
_idle: defaultdict[_Key, list[_Idle]] = defaultdict(list)


@contextmanager
def connection_to(host: str, proxy: str, ca_file: Path) -> Iterator[HTTPSConnection]:
    """Lend a connection to a played host; one on which a call failed is not used again."""
    key = (host, proxy, str(ca_file))
    connection = _taken(key) or _made(*key)
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
    with _lock:
        _idle[key].append(_Idle(connection, time.monotonic()))


def forget_connections(ca_file: Path) -> None:
    """Close the idle connections to a sandbox that ends."""
    with _lock:
        gone = [key for key in _idle if key[2] == str(ca_file)]
        idle = [each for key in gone for each in _idle.pop(key)]
    for each in idle:
        each.connection.close()


def _taken(key: _Key) -> HTTPSConnection | None:
    with _lock:
        waiting = _idle[key]
        while waiting:
            found = waiting.pop()
            if _is_alive(found):
                return found.connection
            found.connection.close()
    return None


def _is_alive(idle: _Idle) -> bool:
    """Tell whether nothing has come since the last answer: what would come is the end of the connection."""
    if time.monotonic() - idle.since > IDLE_SECONDS or idle.connection.sock is None:
        return False
    readable, _, _ = select.select([idle.connection.sock], [], [], 0)
    return not readable


def _made(host: str, proxy: str, ca_file: str) -> HTTPSConnection:
    way = urlsplit(proxy)
    context = ssl.create_default_context(cafile=ca_file)
    connection = HTTPSConnection(way.hostname or "", way.port, context=context, timeout=CALL_SECONDS)
    connection.set_tunnel(host, 443)
    return connection
