"""What a running rogue agent reports to its sandbox, whatever the cloud."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from drills.sandbox.client import ControlClient

DEADLINE_SECONDS = 60


def channels(sandbox: ControlClient) -> dict[str, dict[str, Any]]:
    """The newest tally of each channel; none before the first report."""
    return dict(sandbox.request("GET", "/rogue").get("channels", {}))


def wait_for(observe: Callable[[], bool], what: str) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not observe():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def alive(sandbox: ControlClient) -> set[str]:
    """The channels that still succeed: they gained successes while all of them made further attempts.

    What was under way when it is asked is waited for first: a report may be late.
    """
    attempted(sandbox)
    before = channels(sandbox)
    after = attempted(sandbox)
    return {name for name in after if after[name]["successes"] > before[name]["successes"] + 1}


def attempted(sandbox: ControlClient) -> dict[str, dict[str, Any]]:
    """The channels after three further attempts of each."""
    before = channels(sandbox)
    wait_for(
        lambda: all(each["attempts"] >= before[n]["attempts"] + 3 for n, each in channels(sandbox).items()),
        "further attempts",
    )
    return channels(sandbox)
