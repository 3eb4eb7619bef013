"""``firebreak contain`` and ``firebreak status``: start a containment, and see how runs are doing."""

from __future__ import annotations

import asyncio
import getpass
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text
from temporalio.client import WorkflowExecution

from firebreak import inventory, runs, start
from firebreak.cli import view
from firebreak.cli.live import showing
from firebreak.cli.options import inventory_option
from firebreak.cli.output import both_times, emit, json_option, plain, say, show, table
from firebreak.cli.session import Session, checked, connected, exit_code, patiently, watch
from firebreak.connect import INCIDENT, MODE, WORKLOAD
from firebreak.errors import UsageError
from firebreak.measure import now
from firebreak.model import IncidentId, JsonObject, Mode, Workload
from firebreak.people import PersonName, Reason
from firebreak.planning import Preview, PreviewStep
from firebreak.record import RunStatus, Trigger
from firebreak.start import Started


def login_name() -> str:
    """Who is logged in; raises UsageError where the user id has no account, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # OSError from Python 3.13 on
        raise UsageError("this user id has no login name", remedy="say who asks: --by NAME") from error


@click.command()
@click.argument("workload_id", metavar="WORKLOAD")
@click.option("--reason", required=True, help="Why, in a sentence; kept as evidence.")
@click.option("--by", default=login_name, show_default="the login name", help="Who asks for it.")
@click.option(
    "--incident", show_default="a new one", help="Id of the incident; no other workload may have it."
)
@click.option("--confirmed", is_flag=True, help="The compromise is confirmed (consent auto_if_confirmed).")
@click.option("--plan", "plan_only", is_flag=True, help="Only show what would be done; changes nothing.")
@click.option("--wait", is_flag=True, help="Stay until the run has ended, and exit by its verdict.")
@inventory_option
@json_option
def contain(workload_id: str, inventory_path: Path, as_json: bool, **options: Any) -> int:
    """Contain WORKLOAD: cut its identity and its network, freeze its artifacts, keep the evidence.

    Returns as soon as the run is durable, or with --wait when it has ended. A workload that is already being
    contained is not contained twice: the request joins the run.
    """
    workload = inventory.load(inventory_path).workload(workload_id)
    trigger = Trigger(
        source="cli",
        reason=checked(Reason, options["reason"], "--reason"),
        requested_by=checked(PersonName, options["by"], "--by"),
        received_at=now(),
        confirmed=options["confirmed"],
    )
    chosen = options["incident"]
    incident_id = None if chosen is None else checked(IncidentId, chosen, "--incident")
    if options["plan_only"]:
        return asyncio.run(_plan(workload, trigger, as_json=as_json))
    return asyncio.run(_contain(workload, trigger, incident_id, wait=options["wait"], as_json=as_json))


@click.command()
@click.argument("run_id", metavar="[ID]", required=False)
@click.option("--watch", "keep_watching", is_flag=True, help="Stay until the run has ended.")
@json_option
def status(run_id: str | None, keep_watching: bool, as_json: bool) -> int:
    """Show the run of an incident, workflow or workload ID; without ID, list the runs.

    The exit code of a run is that of its verdict: 3 also while it is not yet contained.
    """
    if run_id is None and keep_watching:
        raise UsageError("--watch needs the ID of a run", remedy="firebreak status lists the runs")
    return asyncio.run(_status(run_id, keep_watching=keep_watching, as_json=as_json))


async def _plan(workload: Workload, trigger: Trigger, *, as_json: bool) -> int:
    async with connected() as session:
        preview = await start.preview(session.client, session.settings, workload, trigger)
    if as_json:
        emit(preview)
    else:
        show(preview_view(preview))
    return 4 if preview.refusals or preview.missing_permissions else 0


async def _contain(
    workload: Workload, trigger: Trigger, chosen: str | None, *, wait: bool, as_json: bool
) -> int:
    async with connected() as session:
        if chosen:
            await start.require_unused(session.client, workload, chosen)
        incident_id = chosen or start.new_incident_id()
        started = await start.contain(
            session.client, session.settings, workload, trigger, incident_id=incident_id, mode=Mode.LIVE
        )
        if not wait:
            what = "joined the running containment" if started.joined else "containment started"
            acknowledge(started, what, as_json=as_json)
            return 0
        return await follow(session, started, as_json=as_json)


async def follow(session: Session, started: Started, *, as_json: bool) -> int:
    """Watch a started run to its end, print its document, and return its exit code.

    What it is and how to see it again is said first: the screen is erased when somebody stops watching.
    """
    say(f"{started.incident_id} goes on without this command; {_see(started)}")
    handle = session.client.get_workflow_handle(started.workflow_id, run_id=started.run_id or None)
    with showing() as seen:
        document = await watch(handle, seen)
    present(document, as_json=as_json)
    return exit_code(document)


async def _status(run_id: str | None, *, keep_watching: bool, as_json: bool) -> int:
    async with connected() as session:
        if run_id is None:
            _list(await runs.newest(session.client), as_json=as_json)
            return 0
        handle = await runs.find(session.client, run_id)
        if keep_watching:
            with showing() as seen:
                document = await watch(handle, seen)
        else:
            document = await patiently(handle)
    present(document, as_json=as_json)
    return exit_code(document)


def present(document: RunStatus, *, as_json: bool) -> None:
    """Print a run's document, for people or as JSON."""
    if as_json:
        emit(document)
    else:
        show(view.summary(document) if document.finished else view.live(document, now()))


def preview_view(preview: Preview) -> RenderableType:
    """What a containment would do."""
    rows = [_preview_row(step) for step in preview.steps]
    place = f"{preview.workload_id} in {preview.account} {preview.region}"
    heading = f"{place}: {len(rows)} steps, nothing was changed\n"
    return Group(
        Text(plain(heading), style="bold"),
        table(("phase", "measure", "target", "permissions", "reversible", "also affects"), rows),
        *(Text(f"refused: {plain(each)}", style="red") for each in preview.refusals),
        *(Text(f"missing permission: {plain(each)}", style="red") for each in preview.missing_permissions),
    )


def _preview_row(step: PreviewStep) -> tuple[str, ...]:
    return (
        f"{int(step.phase)} {step.phase.title}",
        step.measure,
        step.target.ref,
        " ".join(step.permissions),
        "yes" if step.reversible else f"no: {step.irreversible}",
        ", ".join(step.blast_radius),
    )


def acknowledge(started: Started, what: str, *, as_json: bool) -> None:
    """Say that a run is durable, and how to see it."""
    if as_json:
        emit(started)
        return
    click.echo(f"{started.incident_id} {what}")
    say(_see(started))


def _see(started: Started) -> str:
    return f"see it with: firebreak status {started.workflow_id} --watch"


def _list(found: list[WorkflowExecution], *, as_json: bool) -> None:
    if as_json:
        emit({"runs": [_run_document(each) for each in found]})
        return
    rows = [
        (
            _attribute(each, INCIDENT),
            _attribute(each, WORKLOAD),
            each.workflow_type,
            _attribute(each, MODE),
            each.status.name.lower() if each.status else "",
            both_times(each.start_time),
        )
        for each in found
    ]
    show(table(("incident", "workload", "run", "mode", "state", "started"), rows))


def _run_document(execution: WorkflowExecution) -> JsonObject:
    return {
        "incident_id": _attribute(execution, INCIDENT),
        "workflow_id": execution.id,
        "workload_id": _attribute(execution, WORKLOAD),
        "kind": execution.workflow_type,
        "mode": _attribute(execution, MODE),
        "state": execution.status.name.lower() if execution.status else "",
        "started_at": execution.start_time.isoformat(),
        "ended_at": execution.close_time.isoformat() if execution.close_time else None,
    }


def _attribute(execution: WorkflowExecution, key: Any) -> str:
    return str(execution.typed_search_attributes.get(key) or "")
