"""Do many small calls a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_THREADS = 8


def each_of(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Do the work on every item, a few at a time, and return the results in order.

    Each thread gets a copy of the caller's context, which says for whom it works and where it reports.
    """
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="firebreak-each") as pool:
        futures = [pool.submit(copy_context().run, work, item) for item in items]
        return [each.result() for each in futures]
