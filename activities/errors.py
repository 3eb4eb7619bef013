"""The one place where our errors become Temporal's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError

from firebreak.errors import FirebreakError


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors as ApplicationError of their class name; only transient ones are retried."""
    try:
        yield
    except FirebreakError as error:
        raise ApplicationError(
            str(error), type=type(error).__name__, non_retryable=not error.retryable
        ) from error
