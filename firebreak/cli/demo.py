"""``firebreak demo``: rogue agents at work in every cloud, contained at the same time, and judged."""

from __future__ import annotations

import asyncio
import shlex
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click
from rich.console import Group, RenderableType
from rich.text import Text

from drills.sandbox.sample import Sandbox
from drills.stack import Stack, rogue_agents
from firebreak import inventory, start
from firebreak.cli import exit as codes
from firebreak.cli import view
from firebreak.cli.judge import Judgement, channels, judge, judgement_table, live_table
from firebreak.cli.live import Seen, showing
from firebreak.cli.output import emit, say, show, shown_path, this_command
from firebreak.cli.session import Session, connected, exit_code, watch
from firebreak.cli.stack import emptied, running
from firebreak.errors import FirebreakError
from firebreak.evidence.export import export
from firebreak.evidence.sign import load_public_keys
from firebreak.evidence.verify import Expected, Report, verify
from firebreak.measure import now
from firebreak.model import Cloud, JsonObject, Mode, Workload
from firebreak.provider import provider
from firebreak.record import EvidenceStatus, RunStatus, Trigger
from firebreak.settings import load_settings

ALIVE_SECONDS = 30.0
JUDGE_SECONDS = 60.0
POLL_SECONDS = 0.5
KEY_FILE = "signing-key.pub"
CLOUD_NAMES = {Cloud.AWS: "AWS", Cloud.AZURE: "Azure", Cloud.GCP: "GCP"}

Satisfied = Callable[[JsonObject], bool]


@dataclass(frozen=True)
class Outcome:
    """How the containment of one workload ended: its own word, its rogue agent's, and the evidence's."""

    status: RunStatus
    judgements: tuple[Judgement, ...]
    report: Report | None

    @property
    def exit_code(self) -> int:
        """0 only when all three agree."""
        stopped = bool(self.judgements) and all(each.stopped for each in self.judgements)
        agreed = stopped and self.report is not None and self.report.ok
        return exit_code(self.status) or (codes.OK if agreed else codes.NOT_CONTAINED)

    def document(self) -> JsonObject:
        """The outcome as JSON."""
        return {
            "containment": self.status.model_dump(mode="json"),
            "rogue": [each.model_dump(mode="json") for each in self.judgements],
            "evidence": self.report.model_dump(mode="json") if self.report else None,
        }


def play(folder: Path, *, as_json: bool) -> int:
    """Run the whole demo; returns 0 only when every run, every rogue agent and all evidence agree."""
    emptied(folder, "demo")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing outlives this process
    say("starting the embedded stack: Temporal, AWS and Azure sandboxes, workers ...")
    with running(folder) as stack, rogue_agents(stack):
        agents = [
            _Agent(cloud, played.sandbox, played.sample.workload_ids[0])
            for cloud, played in stack.clouds.items()
        ]
        for agent in agents:
            _require_alive(agent)
        ways = " and ".join(f"{len(agent.channels)} on {CLOUD_NAMES[agent.cloud]}" for agent in agents)
        say(f"the rogue agents are alive: {ways} ways to do harm work. Containing them now.")
        statuses = asyncio.run(_contain(stack, agents))
        outcomes = [_outcome(agent, status, folder) for agent, status in zip(agents, statuses, strict=True)]
    if as_json:
        emit({"containments": [each.document() for each in outcomes]})
    else:
        _present(outcomes)
    return next((each.exit_code for each in outcomes if each.exit_code), codes.OK)


class _Agent:
    """The newest report of one cloud's rogue agent, read from its sandbox."""

    def __init__(self, cloud: Cloud, sandbox: Sandbox, workload_id: str) -> None:
        self.cloud = cloud
        self.workload_id = workload_id
        self._sandbox = sandbox
        self.report: JsonObject = {}

    @property
    def channels(self) -> JsonObject:
        return channels(self.report)

    def refresh(self) -> None:
        self.report = self._sandbox.request("GET", "/rogue")

    def draw(self) -> RenderableType:
        return live_table(self.report, self.workload_id)

    def wait_until(self, satisfied: Satisfied, seconds: float) -> bool:
        """Whether it came to that within the time."""
        deadline = time.monotonic() + seconds
        self.refresh()
        while not satisfied(self.report) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            self.refresh()
        return satisfied(self.report)

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


def _require_alive(agent: _Agent) -> None:
    if not agent.wait_until(_all_work, ALIVE_SECONDS):
        logs = f"rogue-{agent.cloud}.log and sandbox-{agent.cloud}.log"
        raise FirebreakError("a rogue agent does not come alive", remedy=f"see {logs} in the demo's folder")


def _decided_since(moment: datetime) -> Satisfied:
    """Every channel worked or was refused several times since then: the judgement is about how it ended."""
    return lambda report: all(channel.decided_since(moment) for channel in channels(report).values())


async def _contain(stack: Stack, agents: Sequence[_Agent]) -> list[RunStatus]:
    """Contain the workloads of all agents at the same time."""
    workloads = inventory.load(stack.inventory_path)
    async with connected() as session, AsyncExitStack() as following:
        for agent in agents:
            await following.enter_async_context(agent.followed())
        with showing(lambda: Group(*(agent.draw() for agent in agents))) as seen:
            runs = (_contain_one(session, workloads.workload(each.workload_id), seen) for each in agents)
            return await asyncio.gather(*runs)


async def _contain_one(session: Session, workload: Workload, seen: Seen) -> RunStatus:
    trigger = Trigger(
        source="demo",
        reason="the agent sends data to an unknown host",
        requested_by="demo",
        received_at=now(),
    )
    started = await start.contain(
        session.client,
        session.settings,
        workload,
        trigger,
        incident_id=start.new_incident_id(),
        mode=Mode.LIVE,
    )
    handle = session.client.get_workflow_handle(started.workflow_id, run_id=started.run_id or None)
    return await watch(handle, seen)


def _outcome(agent: _Agent, status: RunStatus, folder: Path) -> Outcome:
    agent.wait_until(_decided_since(now()), JUDGE_SECONDS)  # what is still open then counts as not stopped
    report = _evidence(status.evidence, agent.cloud, folder) if status.evidence else None
    return Outcome(status, judge(agent.report, status), report)


def _evidence(evidence: EvidenceStatus, of: Cloud, folder: Path) -> Report:
    """Fetch the package and check it as anybody would, with the public key from outside it."""
    settings = load_settings()
    cloud = provider(of)
    public = cloud.signer(settings, Mode.LIVE).public_key.keyval["public"]
    own = folder / "evidence" / of.value
    own.mkdir(parents=True, exist_ok=True)
    key = own / KEY_FILE
    key.write_text(public, encoding="utf-8")
    package = export(cloud.vault(settings), evidence.uri, own / "package")
    expected = Expected.at(evidence.uri, evidence.manifest_sha256)
    return verify(package, load_public_keys([key]), expected)


def _present(outcomes: Sequence[Outcome]) -> None:
    for each in outcomes:
        show(Group(view.summary(each.status), Text(), judgement_table(each.judgements), Text()))
    for each in outcomes:
        if each.report is not None and each.status.evidence is not None:
            _present_evidence(each.status, each.status.evidence, each.report)


def _present_evidence(status: RunStatus, evidence: EvidenceStatus, report: Report) -> None:
    package = Path(report.path)
    outcome = (
        f"verified offline, {report.exhibits} exhibits" if report.ok else f"{len(report.problems)} problems"
    )
    shown, key = shown_path(package), shown_path(package.parent / KEY_FILE)
    click.echo(f"evidence package of {status.workload_id}: {shown} ({outcome})")
    command = f"{this_command()} evidence verify {shlex.quote(shown)} --trust {shlex.quote(key)}"
    click.echo(f"check it yourself: {command} --manifest-sha256 {evidence.manifest_sha256}")
