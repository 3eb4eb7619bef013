"""What has to happen once a containment has closed, however it closed: tell people, contain again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from activities.inputs import Page, Relief
    from firebreak.record import ContainmentInput

from workflows.delivery import start_or_join
from workflows.paging import tell

WATCHED = "a sentry outlives the run, tells of a run that closed without an end, and contains again"
"""The patch of 0.2; runs that began before have no sentry."""


@workflow.defn(name="sentry", failure_exception_types=[ValidationError])
class Sentry:
    """Waits for the end of the run that started it.

    The server asks it to cancel as soon as that run has closed: completed, failed, terminated or timed out
    (Temporal documentation, parent close policy). Only a run that came to its own end has relieved it before.
    """

    @workflow.init
    def __init__(self, page: Page) -> None:
        self.relief: Relief | None = None

    @workflow.run
    async def run(self, page: Page) -> None:
        """Page where the run never came to an end; contain again for the alerts that came too late for it."""
        try:
            await workflow.wait_condition(lambda: False)
        except asyncio.CancelledError:
            workflow.logger.info("the run has closed")
        if self.relief is None:
            await tell(page)
            return
        for each in self.relief.following:
            await start_or_join(each, self.relief.containment_id)

    @workflow.signal
    def relieve(self, relief: Relief) -> None:
        """The run has come to its end; the last word counts."""
        self.relief = relief


class Watch:
    """A run's side of its sentry."""

    def __init__(self) -> None:
        self.posted: asyncio.Task[workflow.ChildWorkflowHandle[Any, None]] | None = None

    def begin(self, page: Page) -> None:
        """Post the sentry, in the background."""
        if workflow.patched(WATCHED):
            self.posted = asyncio.create_task(_post(page))

    async def relieve(self, following: Callable[[], tuple[ContainmentInput, ...]]) -> None:
        """Say that the run has come to its end, again where another alert came meanwhile."""
        told: tuple[ContainmentInput, ...] | None = None
        while self.posted is not None and told != following():
            told = following()
            relief = Relief(containment_id=workflow.info().workflow_id, following=told)
            try:
                await (await self.posted).signal(Sentry.relieve, relief)
            except ApplicationError:  # somebody ended it
                workflow.logger.warning("the sentry of this run has ended before it")


async def _post(page: Page) -> workflow.ChildWorkflowHandle[Any, None]:
    return await workflow.start_child_workflow(
        Sentry.run,
        page,
        id=f"sentry-{workflow.info().run_id}",
        parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
        static_summary=f"sentry of {page.incident_id}",
    )
