"""Tell the on-call something that belongs to no run, for example that the sealed account was used."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from activities.inputs import Page

from workflows.paging import tell


@workflow.defn(name="alarm", failure_exception_types=[ValidationError])
class Alarm:
    """One message, delivered."""

    @workflow.run
    async def run(self, page: Page) -> None:
        """Page the on-call."""
        await tell(page)
