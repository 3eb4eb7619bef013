"""What the history of a finished run tells: its size, its moments and everything that was tried again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle

from firebreak.record import Ended
from workflows.containment import Containment

STEP = "firebreak.contain"


@dataclass(frozen=True)
class RunHistory:
    """One run, by the server's own clock."""

    events: int
    size_bytes: int
    steps: int
    started_at: datetime
    proved_at: tuple[datetime, ...]
    """When each phase was proved and its findings went to be sealed."""
    packaged_at: datetime
    """When the verdict stood and the evidence package was asked for."""
    ended_at: datetime
    retried_activities: int
    timed_out_tasks: int

    def since_start(self, moment: datetime) -> float:
        """Seconds from the start of the run."""
        return (moment - self.started_at).total_seconds()


async def read(handle: WorkflowHandle[Containment, Ended]) -> RunHistory:
    """Read the history of a run that has ended."""
    events = [event async for event in handle.fetch_history_events()]
    described = await handle.describe()
    info = described.raw_description.workflow_execution_info
    scheduled = [(_name(each), _at(each)) for each in events if _name(each)]
    chained = tuple(at for name, at in scheduled if name == "firebreak.chain")
    packaged = [at for name, at in scheduled if name == "firebreak.package"]
    return RunHistory(
        events=len(events),
        size_bytes=info.history_size_bytes,
        steps=sum(name == STEP for name, _ in scheduled),
        started_at=_at(events[0]),
        proved_at=chained[:4],
        packaged_at=packaged[-1],
        ended_at=_at(events[-1]),
        retried_activities=sum(each.activity_task_started_event_attributes.attempt > 1 for each in events),
        timed_out_tasks=sum(
            each.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT for each in events
        ),
    )


def phases_chained(events: Sequence[HistoryEvent]) -> int:
    """How many phases have been proved and sealed so far."""
    return sum(_name(each) == "firebreak.chain" for each in events)


def at_work(events: Sequence[HistoryEvent]) -> bool:
    """Whether the last thing handed out is a step."""
    names = [_name(each) for each in events if _name(each)]
    return bool(names) and names[-1] == STEP


def _name(event: HistoryEvent) -> str:
    return str(event.activity_task_scheduled_event_attributes.activity_type.name)


def _at(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime().astimezone()
