"""Tell the on-call something that belongs to no run, for example that the sealed account was used."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from activities.inputs import Page
    from activities.notify import NotifyActivities

from workflows.options import RETRY

TELLING = timedelta(hours=24)
"""Worth many attempts: nobody else will say it."""


@workflow.defn(name="alarm", failure_exception_types=[ValidationError])
class Alarm:
    """One message, delivered."""

    @workflow.run
    async def run(self, page: Page) -> None:
        """Page the on-call."""
        await tell(page)


async def tell(page: Page) -> None:
    """Page the on-call, for as long as it takes."""
    await workflow.execute_activity_method(
        NotifyActivities.notify,
        page,
        schedule_to_close_timeout=TELLING,
        start_to_close_timeout=timedelta(seconds=20),
        retry_policy=RETRY,
        summary=page.kind,
    )
