"""What a running rogue agent reports while a test looks on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from firebreak.model import JsonObject
from tests.e2e.waiting import until

Channels = dict[str, JsonObject]


@dataclass(frozen=True)
class Rogue:
    """The agent of a sandbox."""

    sandbox: Any

    def channels(self) -> Channels:
        """Each channel's tally, of the newest report."""
        return dict(self.sandbox.request("GET", "/rogue").get("channels", {}))

    def until(self, condition: Callable[[Channels], bool]) -> Channels:
        """Wait until there are channels, and they satisfy the condition."""
        return until(self.channels, lambda channels: bool(channels) and condition(channels))

    def decided_after(self, moment: str) -> Channels:
        """The channels once each worked or was refused three times after a moment (ISO 8601, UTC, ``Z``)."""

        def decided(channel: JsonObject) -> bool:
            return channel["last_success_at"] > moment or len(refusals(channel, moment)) >= 3

        return self.until(lambda channels: all(decided(c) for c in channels.values()))


def refusals(channel: JsonObject, moment: str) -> list[str]:
    """When attempts on a channel began that were refused, after the moment."""
    return [at for at in channel["refused_at"] if at > moment]
