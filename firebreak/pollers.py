"""Who works on a task queue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from firebreak.errors import FirebreakError

WORKFLOWS = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
ACTIVITIES = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY

PATIENCE = timedelta(seconds=10)
"""How long a worker that is being started is waited for."""
POLLED_WITHIN = timedelta(seconds=75)
"""How lately a living worker has asked for work. The server answers an idle poll after a minute
(matching.longPollExpirationInterval), the SDK gives one up after 70 s, and then the worker asks again."""


async def pollers(client: Client, queue: str, kind: TaskQueueType.ValueType) -> list[str]:
    """The identities of the workers that poll a task queue, or did in the last minutes."""
    return sorted(each.identity for each in await listed(client, queue, kind))


async def listed(client: Client, queue: str, kind: TaskQueueType.ValueType) -> Sequence[PollerInfo]:
    """Whom the server remembers to have polled: it forgets after five minutes (matching.PollerHistoryTTL)."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
    )
    answer = await client.workflow_service.describe_task_queue(request)
    return answer.pollers


def living(remembered: Iterable[PollerInfo], at: datetime) -> list[str]:
    """Those of them that still poll, or died within ``POLLED_WITHIN``.

    A worker without room for more work does not poll and is not among them.
    """
    return sorted(
        each.identity for each in remembered if at - each.last_access_time.ToDatetime(UTC) <= POLLED_WITHIN
    )


async def require_polled(
    client: Client, queue: str, kind: TaskQueueType.ValueType, role: str, patience: timedelta = PATIENCE
) -> None:
    """Raise FirebreakError where no worker comes to poll a task queue."""
    deadline = asyncio.get_running_loop().time() + patience.total_seconds()
    while not await pollers(client, queue, kind):
        if asyncio.get_running_loop().time() > deadline:
            raise FirebreakError(
                f"there is no worker for {role}: nobody polls {queue}",
                remedy=f"start one (`firebreak worker --role {role}`)",
            )
        await asyncio.sleep(0.2)
