"""One page to the on-call, with its time and its retries."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.inputs import Page
    from activities.notify import NotifyActivities

from workflows.options import RETRY

TELLING = timedelta(hours=24)
"""Worth many attempts: nobody else will say it."""


async def tell(page: Page, within: timedelta = TELLING) -> None:
    """Page the on-call, for as long as it takes; raises ActivityError when not everybody was reached."""
    await workflow.execute_activity_method(
        NotifyActivities.notify,
        page,
        schedule_to_close_timeout=within,
        start_to_close_timeout=timedelta(seconds=20),
        retry_policy=RETRY,
        summary=page.kind,
    )
