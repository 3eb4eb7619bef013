"""The rogue agent's own view of a containment: which of its ways to do harm still worked, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, field_validator
from rich.table import Table
from rich.text import Text

from drills.sandbox.rogue import ENOUGH_REFUSALS
from firebreak.cli.output import table
from firebreak.model import FrozenModel, JsonObject, Phase
from firebreak.record import RunStatus


class Channel(BaseModel):
    """One way to do harm, as the agent reports it."""

    phase: Phase
    attempts: int
    successes: int
    last_success_at: datetime | None = None
    last_error: str = ""
    refused_at: tuple[datetime, ...] = ()
    """Its newest refusals since the last success; timeouts, throttling and the like decide nothing."""

    @field_validator("last_success_at", mode="before")
    @classmethod
    def _never(cls, value: Any) -> Any:
        return value or None

    @property
    def works(self) -> bool:
        """Whether no attempt was refused since the last success."""
        return self.successes > 0 and not self.refused_at

    def refused_since(self, moment: datetime) -> bool:
        """Whether enough attempts were refused after that."""
        return sum(at > moment for at in self.refused_at) >= ENOUGH_REFUSALS

    def decided_since(self, moment: datetime) -> bool:
        """Whether it is known what the channel achieved after that."""
        worked = self.last_success_at is not None and self.last_success_at > moment
        return worked or self.refused_since(moment)


class Judgement(FrozenModel):
    """What one channel says about the proof of its phase."""

    channel: str
    phase: Phase
    attempts: int
    successes: int
    last_success_at: datetime | None
    proved_at: datetime | None
    last_error: str
    stopped: bool
    """It worked, its last success lies before the proof, and several attempts were refused since."""


def channels(report: JsonObject) -> dict[str, Channel]:
    """The channels of a report, by name."""
    return {name: Channel.model_validate(each) for name, each in report.get("channels", {}).items()}


def judge(report: JsonObject, status: RunStatus) -> tuple[Judgement, ...]:
    """Compare each channel's last success with the proof of the phase that had to end it."""
    proved = {phase.phase: phase.verified_at for phase in status.phases}
    return tuple(
        Judgement(
            channel=name,
            phase=channel.phase,
            attempts=channel.attempts,
            successes=channel.successes,
            last_success_at=channel.last_success_at,
            proved_at=proved.get(channel.phase),
            last_error=channel.last_error,
            stopped=_stopped(channel, proved.get(channel.phase)),
        )
        for name, channel in sorted(channels(report).items(), key=lambda item: (item[1].phase, item[0]))
    )


def live_table(report: JsonObject, workload_id: str = "") -> Table:
    """What the agent in a workload can still do, by the phase that has to end it."""
    found = channels(report)
    rows = []
    for phase in Phase:
        mine = {name: channel for name, channel in sorted(found.items()) if channel.phase is phase}
        working = [name for name, channel in mine.items() if channel.works]
        if mine:
            stopped = Text(f"{len(mine) - len(working)} of {len(mine)}", style="red" if working else "green")
            rows.append((str(int(phase)), phase.title, stopped, ", ".join(working) or "nothing"))
    return table(("", "the rogue agent's", "ways stopped", "still works"), rows, title=workload_id)


def judgement_table(judgements: Sequence[Judgement]) -> Table:
    """The agent's channels against the proofs."""
    rows = [
        (
            str(int(each.phase)),
            each.channel,
            Text("stopped", style="green") if each.stopped else Text("NOT STOPPED", style="bold red"),
            _time(each.last_success_at),
            _time(each.proved_at),
            each.last_error,
        )
        for each in judgements
    ]
    return table(("", "the rogue agent's", "verdict", "last success", "phase proved", "last error"), rows)


def _stopped(channel: Channel, proved_at: datetime | None) -> bool:
    if channel.last_success_at is None or proved_at is None:
        return False
    return channel.last_success_at < proved_at and channel.refused_since(proved_at)


def _time(at: datetime | None) -> str:
    return f"{at.astimezone():%H:%M:%S}.{at.microsecond // 1000:03}" if at else "never"
