"""How long a test waits, and for what."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

AnswerT = TypeVar("AnswerT")

PATIENCE = 240.0
"""Seconds until a test gives up waiting; generous, since the machine may be busy."""
POLL = 0.1


def until(
    ask: Callable[[], AnswerT], wanted: Callable[[AnswerT], bool], patience: float = PATIENCE
) -> AnswerT:
    """The first answer that is as wanted; fails with the last one."""
    deadline = time.monotonic() + patience
    while True:
        answer = ask()
        if wanted(answer):
            return answer
        assert time.monotonic() < deadline, f"waited in vain; the last answer was {answer}"
        time.sleep(POLL)
