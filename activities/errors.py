"""The one place where our errors become Temporal's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio import activity
from temporalio.exceptions import ApplicationError, TemporalError

from firebreak.errors import FirebreakError

UNEXPECTED_ATTEMPTS = 5
"""After that many attempts, about 8 s, what nobody foresaw counts as permanent: the on-call is asked while
most of the phase's time is left, in place of the same surprise until it is over."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors as ApplicationError of their class name; only transient ones are retried for long."""
    try:
        yield
    except FirebreakError as error:
        raise ApplicationError(
            str(error), type=type(error).__name__, non_retryable=not error.retryable
        ) from error
    except TemporalError:
        raise
    except Exception as error:
        if activity.info().attempt < UNEXPECTED_ATTEMPTS:
            raise
        raise ApplicationError(
            f"unexpected {type(error).__name__}: {error}", type="UnexpectedError", non_retryable=True
        ) from error
