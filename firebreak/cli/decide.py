"""``approve reject retry proceed stop release``: what named people decide about a run."""

from __future__ import annotations

import asyncio
from typing import Literal

import click

from firebreak import runs, start
from firebreak.cli.contain import acknowledge, follow
from firebreak.cli.output import emit, json_option
from firebreak.cli.session import checked, connected
from firebreak.model import IncidentId
from firebreak.people import PersonName, Reason
from firebreak.record import Decision

Kind = Literal["approve", "reject", "retry", "proceed", "stop"]


def _decision(kind: Kind, promise: str) -> click.Command:
    """One command for one kind of decision."""

    @click.command(kind, help=promise)
    @click.argument("incident_id", metavar="ID")
    @click.option("--by", required=True, help="Who decides.")
    @click.option("--reason", required=True, help="Why; recorded in the evidence.")
    @json_option
    def command(incident_id: str, by: str, reason: str, as_json: bool) -> None:
        decision = Decision(
            by=checked(PersonName, by, "--by"), reason=checked(Reason, reason, "--reason"), kind=kind
        )
        accepted = asyncio.run(_decide(checked(IncidentId, incident_id, "ID"), decision))
        if as_json:
            emit({"incident_id": incident_id, **accepted.model_dump(mode="json")})
        else:
            click.echo(f"{incident_id}: {kind} by {by} accepted")

    return command


approve = _decision("approve", "Consent to a containment or a release that waits for approval.")
reject = _decision("reject", "Refuse a containment or a release that waits; nothing is changed.")
retry = _decision("retry", "Try the unproved measures of the waiting phase again.")
proceed = _decision(
    "proceed", "Go on although the waiting phase is not proved: accept the risk, in writing, by name."
)
stop = _decision("stop", "End the run; what is contained stays contained.")


@click.command()
@click.argument("incident_id", metavar="ID")
@click.option("--by", required=True, help="Who asks for the release.")
@click.option("--approved-by", default="", help="Who else approves it; else it waits for their approve.")
@click.option("--reason", default="the incident is resolved", show_default=True, help="Why; recorded.")
@click.option("--wait", is_flag=True, help="Stay until the release has ended, and exit by its verdict.")
@json_option
def release(incident_id: str, by: str, approved_by: str, reason: str, wait: bool, as_json: bool) -> int:
    """Give the contained workload of incident ID back: two people, reverts in reverse, proved equal."""
    checked(IncidentId, incident_id, "ID")
    people = {"by": checked(PersonName, by, "--by")}
    if approved_by:
        people["approved_by"] = checked(PersonName, approved_by, "--approved-by")
    checked(Reason, reason, "--reason")
    return asyncio.run(_release(incident_id, people, reason, wait=wait, as_json=as_json))


async def _decide(incident_id: str, decision: Decision) -> Decision:
    async with connected() as session:
        return await runs.decide(session.client, incident_id, decision)


async def _release(
    incident_id: str, people: dict[str, str], reason: str, *, wait: bool, as_json: bool
) -> int:
    async with connected() as session:
        started = await start.release(session.client, session.settings, incident_id, **people, reason=reason)
        if wait:
            return await follow(session, started, as_json=as_json)
    acknowledge(started, "release started", as_json=as_json)
    return 0
