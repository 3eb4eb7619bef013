"""``firebreak demo``: a rogue agent at work, its containment, its judgement, and the verified evidence."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import click
from rich.console import Group, RenderableType
from rich.text import Text

from drills.sandbox.aws.client import SandboxClient
from drills.stack import Stack, rogue_agent
from firebreak import inventory, start
from firebreak.cli import exit as codes
from firebreak.cli import view
from firebreak.cli.judge import Judgement, channels, judge, judgement_table, live_table
from firebreak.cli.live import showing
from firebreak.cli.output import emit, say, show, shown_path, this_command
from firebreak.cli.session import connected, watch
from firebreak.cli.stack import running
from firebreak.errors import FirebreakError
from firebreak.evidence.export import export
from firebreak.evidence.sign import load_public_keys
from firebreak.evidence.verify import Report, verify
from firebreak.measure import now
from firebreak.model import Cloud, JsonObject, Mode
from firebreak.provider import provider
from firebreak.record import EvidenceStatus, RunStatus, Trigger
from firebreak.settings import load_settings

ALIVE_SECONDS = 30.0
JUDGE_SECONDS = 15.0
POLL_SECONDS = 0.5

Satisfied = Callable[[JsonObject], bool]


def play(folder: Path, *, as_json: bool) -> int:
    """Run the whole demo; returns 0 only when the run, the rogue agent and the evidence all agree."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing outlives this process
    shutil.rmtree(folder, ignore_errors=True)
    say("starting the embedded stack: Temporal, AWS sandbox, workers ...")
    with running(folder) as stack, rogue_agent(stack):
        agent = _Agent(stack.sandbox)
        agent.wait_until(_all_work, ALIVE_SECONDS, "the rogue agent does not come alive")
        say(f"the rogue agent is alive: {len(agent.channels)} ways to do harm work. Containing it now.")
        status = asyncio.run(_contain(stack, agent))
        agent.wait_until(_reported_after(now()), JUDGE_SECONDS, "the rogue agent reports no more")
        judgements = judge(agent.report, status)
        report = _evidence(status.evidence, folder) if status.evidence else None
    if as_json:
        emit(_document(status, judgements, report))
    else:
        _present(status, judgements, report)
    return _exit_code(status, judgements, report)


class _Agent:
    """The newest report of the rogue agent, read from the sandbox."""

    def __init__(self, sandbox: SandboxClient) -> None:
        self.sandbox = sandbox
        self.report: JsonObject = {}

    @property
    def channels(self) -> JsonObject:
        return channels(self.report)

    def refresh(self) -> None:
        self.report = self.sandbox.request("GET", "/rogue")

    def draw(self) -> RenderableType:
        return live_table(self.report)

    def wait_until(self, satisfied: Satisfied, seconds: float, otherwise: str) -> None:
        deadline = time.monotonic() + seconds
        self.refresh()
        while not satisfied(self.report):
            if time.monotonic() > deadline:
                raise FirebreakError(otherwise, remedy="see rogue.log and sandbox.log in the demo's folder")
            time.sleep(POLL_SECONDS)
            self.refresh()

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Keep the report fresh for the length of a block."""
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()
            # A reading that failed on the way does not matter: the last one is read again at the end.
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await asyncio.to_thread(self.refresh)
            await asyncio.sleep(POLL_SECONDS)


def _all_work(report: JsonObject) -> bool:
    found = channels(report).values()
    return bool(found) and all(channel.works for channel in found)


def _reported_after(moment: datetime) -> Satisfied:
    """Every channel was attempted again since then, so that the judgement is about the contained workload."""

    def satisfied(report: JsonObject) -> bool:
        attempts = [channel.last_attempt_at for channel in channels(report).values()]
        return all(at is not None and at > moment for at in attempts)

    return satisfied


async def _contain(stack: Stack, agent: _Agent) -> RunStatus:
    workload = inventory.load(stack.sample.inventory_path).workload(stack.sample.workload_ids[0])
    trigger = Trigger(
        source="demo",
        reason="the agent sends data to an unknown host",
        requested_by="demo",
        received_at=now(),
    )
    incident = start.new_incident_id()
    async with connected() as session, agent.followed():
        started = await start.contain(
            session.client, session.settings, workload, trigger, incident_id=incident, mode=Mode.LIVE
        )
        handle = session.client.get_workflow_handle(started.workflow_id, run_id=started.run_id or None)
        with showing(agent.draw) as seen:
            return await watch(handle, seen)


def _evidence(evidence: EvidenceStatus, folder: Path) -> Report:
    """Fetch the package and check it as anybody would, with the public key from outside it."""
    settings = load_settings()
    cloud = provider(Cloud.AWS)
    public = cloud.signer(settings, Mode.LIVE).public_key.keyval["public"]
    key = folder / "signing-key.pub"
    key.write_text(public, encoding="utf-8")
    package = export(cloud.vault(settings), evidence.uri, folder / "evidence")
    return verify(package, load_public_keys([key]))


def _exit_code(status: RunStatus, judgements: Sequence[Judgement], report: Report | None) -> int:
    agreed = (
        bool(judgements) and all(each.stopped for each in judgements) and report is not None and report.ok
    )
    return start.exit_code(status) or (codes.OK if agreed else codes.NOT_CONTAINED)


def _document(status: RunStatus, judgements: Sequence[Judgement], report: Report | None) -> JsonObject:
    return {
        "containment": status.model_dump(mode="json"),
        "rogue": [each.model_dump(mode="json") for each in judgements],
        "evidence": report.model_dump(mode="json") if report else None,
    }


def _present(status: RunStatus, judgements: Sequence[Judgement], report: Report | None) -> None:
    show(Group(view.summary(status), Text(), judgement_table(judgements), Text()))
    if report is None:
        return
    package = Path(report.path)
    outcome = (
        f"verified offline, {report.exhibits} exhibits" if report.ok else f"{len(report.problems)} problems"
    )
    shown, key = shown_path(package), shown_path(package.parent / "signing-key.pub")
    click.echo(f"evidence package: {shown} ({outcome})")
    command = f"{this_command()} evidence verify {shlex.quote(shown)} --trust {shlex.quote(key)}"
    click.echo(f"check it yourself: {command}")
