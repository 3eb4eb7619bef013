"""The production workers over an imaginary cloud: contained, packaged, verified offline, released."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import pytest
from temporalio.client import Client

from firebreak import inventory, marker, runs, start, worker
from firebreak.cli.session import exit_code
from firebreak.codec import data_converter
from firebreak.connect import INCIDENT, ensure_search_attributes
from firebreak.devserver import DevServer
from firebreak.engine import Engine
from firebreak.errors import GuardError, PermanentCloudError
from firebreak.evidence import custody
from firebreak.evidence.custody import CustodyEntry
from firebreak.evidence.export import export
from firebreak.evidence.layout import BAG, CUSTODY
from firebreak.evidence.sign import load_public_keys
from firebreak.evidence.verify import verify
from firebreak.measure import now
from firebreak.model import Mode, Verdict
from firebreak.record import Decision, RunStatus, Trigger
from firebreak.settings import Settings
from tests.firebreak.imaginary import CLOUD, World, imaginary_cloud, settings_for
from tests.workflows.stage import until

T = TypeVar("T")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with imaginary_cloud(tmp_path, monkeypatch) as running:
        yield running


class Desk:
    """What the CLI can do, over production workers."""

    def __init__(self, client: Client, settings: Settings, world: World) -> None:
        self.client = client
        self.settings = settings
        self.world = world
        self.engine = Engine(CLOUD, settings)

    async def contain(self, incident_id: str) -> None:
        workload = inventory.load(self.settings.inventory).workload("agent")
        trigger = Trigger(source="cli", reason="odd calls", requested_by="riley", received_at=now())
        await start.contain(
            self.client, self.settings, workload, trigger, incident_id=incident_id, mode=Mode.LIVE
        )
        await until(lambda: self.known(incident_id), bool)

    async def known(self, incident_id: str) -> bool:
        found = await runs.newest(self.client, limit=200)
        return any(each.typed_search_attributes.get(INCIDENT) == incident_id for each in found)

    async def status(self, incident_id: str) -> RunStatus:
        return await runs.status(await runs.containment(self.client, incident_id))

    async def ended(self, incident_id: str) -> RunStatus:
        await (await runs.containment(self.client, incident_id)).result()
        return await self.status(incident_id)

    async def contained(self, incident_id: str) -> RunStatus:
        """A containment, to its end."""
        await self.contain(incident_id)
        return await self.ended(incident_id)

    async def release(self, incident_id: str, **people: Any) -> RunStatus:
        who = {"by": "casey", "approved_by": "sam", "reason": "rebuilt"} | people
        started = await start.release(self.client, self.settings, incident_id, **who)
        handle = self.client.get_workflow_handle(started.workflow_id)
        await handle.result()
        return await runs.status(handle)

    def package(self, document: RunStatus) -> Path:
        """The package, exported."""
        assert document.evidence is not None
        folder = self.world.root / f"package-{document.evidence.manifest_sha256[:8]}"
        return export(self.world.vault(), document.evidence.uri, folder)

    async def asked(self, question: Callable[[], T]) -> T:
        """An answer that needs no network."""
        return question()

    def holder(self) -> str:
        """The incident that holds the workload."""
        held = marker.read(self.engine, inventory.load(self.settings.inventory).workload("agent"))
        return held.incident_id if held else ""

    def problems(self, document: RunStatus) -> list[str]:
        """What offline verification finds wrong with the package."""
        keys = load_public_keys([self.world.public_key], Mode.LIVE)
        return [str(problem) for problem in verify(self.package(document), keys).problems]

    def custody(self, document: RunStatus) -> list[CustodyEntry]:
        """The custody chain of the package."""
        lines = (self.package(document) / BAG / CUSTODY).read_text().splitlines()
        return [custody.read(line) for line in lines]

    async def asked_for(self, incident_id: str) -> str:
        """A release that waits for approval; its workflow id."""
        started = await start.release(self.client, self.settings, incident_id, by="casey", reason="rebuilt")
        handle = self.client.get_workflow_handle(started.workflow_id)
        await until(lambda: runs.status(handle), lambda d: d.awaiting is not None)
        return started.workflow_id

    async def decided(self, incident_id: str, workflow_id: str, **decision: Any) -> RunStatus:
        """The release after a decision."""
        await runs.decide(self.client, incident_id, Decision.model_validate(decision))
        handle = self.client.get_workflow_handle(workflow_id)
        await handle.result()
        return await runs.status(handle)


@asynccontextmanager
async def desk_of(server: DevServer, world: World, name: str, **fields: Any) -> AsyncIterator[Desk]:
    settings = settings_for(world.root, **fields).model_copy(update={"task_queue": f"whole-{name}"})
    client = await Client.connect(server.address, data_converter=data_converter(settings))
    await ensure_search_attributes(client)
    async with AsyncExitStack() as stack:
        for each in worker.build(client, settings, worker.Role(workflows=True, clouds=(CLOUD,)), "tests"):
            await stack.enter_async_context(each)
        yield Desk(client, settings, world)


async def test_contained_packaged_verified_and_released(server: DevServer, world: World) -> None:
    async with desk_of(server, world, "contained") as desk:
        document = await desk.contained("INC-WHOLE-1")
        assert document.verdict is Verdict.CONTAINED, document
        assert not any(world.open.values())
        assert desk.problems(document) == []
        with pytest.raises(GuardError, match="alone"):
            await desk.release("INC-WHOLE-1", approved_by="Casey")
        back = await desk.release("INC-WHOLE-1")
        assert back.verdict is Verdict.RELEASED, back
        assert all(world.open[ref] for ref in ("gateway", "model", "role"))
        assert desk.problems(back) == []
        again = await desk.release("INC-WHOLE-1")
        assert "agent is not contained" in again.refusals
        assert back.evidence is not None
        assert again.evidence is not None
        assert back.evidence.uri != again.evidence.uri
        assert desk.problems(back) == desk.problems(again) == []
        assert desk.custody(back)[-1].summary == "release released"
        assert desk.custody(again)[-1].summary.startswith("release refused; agent is not contained")


async def test_a_workload_that_is_contained_again_during_its_release_stays_contained(
    server: DevServer, world: World
) -> None:
    async with desk_of(server, world, "again") as desk:
        await desk.contained("INC-AGAIN-1")
        world.holds["gateway"] = met = Barrier(2, timeout=60)
        release = asyncio.create_task(desk.release("INC-AGAIN-1"))
        await until(lambda: desk.asked(lambda: met.n_waiting), bool)
        await desk.contain("INC-AGAIN-2")
        await until(lambda: desk.asked(desk.holder), lambda held: held == "INC-AGAIN-2")
        await asyncio.to_thread(met.wait)
        world.holds.clear()
        again = await desk.ended("INC-AGAIN-2")
        assert again.verdict is Verdict.CONTAINED, again
        assert not any(world.open.values())
        first = await release
        assert first.verdict is Verdict.UNPROVEN
        errors = [each.error for phase in first.phases for each in phase.measures]
        assert any("contained again by INC-AGAIN-2" in error for error in errors)
        assert desk.problems(first) == []
        assert (await desk.release("INC-AGAIN-2")).verdict is Verdict.RELEASED
        assert all(world.open[ref] for ref in ("gateway", "model", "role"))


async def test_an_artifact_that_was_altered_meanwhile_is_not_released(
    server: DevServer, world: World
) -> None:
    async with desk_of(server, world, "altered") as desk:
        await desk.contained("INC-WHOLE-2")
        world.open["model"] = True
        back = await desk.release("INC-WHOLE-2")
        assert back.refusals == ("model is not what was frozen: hash",)
        assert world.open["gateway"] is False


async def test_a_step_that_failed_and_was_proceeded_with_is_packaged_and_released(
    server: DevServer, world: World
) -> None:
    world.apply_errors["gateway"] = [PermanentCloudError("AccessDenied") for _ in range(9)]
    async with desk_of(server, world, "proceeded") as desk:
        await desk.contain("INC-WHOLE-3")
        for kind in ("retry", "proceed"):
            await until(lambda: desk.status("INC-WHOLE-3"), lambda d: d.awaiting is not None)
            decision = Decision.model_validate({"kind": kind, "by": "casey", "reason": "hm"})
            await runs.decide(desk.client, "INC-WHOLE-3", decision)
        document = await desk.ended("INC-WHOLE-3")
        assert document.verdict is Verdict.PARTIALLY_CONTAINED
        assert desk.problems(document) == []
        assert exit_code(document) == 3
        assert (await desk.release("INC-WHOLE-3")).verdict is Verdict.RELEASED


async def test_a_rejected_run_leaves_a_verifiable_package_and_no_change(
    server: DevServer, world: World
) -> None:
    async with desk_of(server, world, "rejected", consent={"mode": "approval"}) as desk:
        await desk.contain("INC-WHOLE-4")
        await until(lambda: desk.status("INC-WHOLE-4"), lambda d: d.awaiting is not None)
        await runs.decide(desk.client, "INC-WHOLE-4", Decision(kind="reject", by="casey", reason="a test"))
        document = await desk.ended("INC-WHOLE-4")
        assert document.verdict is Verdict.REJECTED
        assert exit_code(document) == 5
        assert all(world.open.values())
        assert desk.problems(document) == []
        assert (await desk.release("INC-WHOLE-4")).refusals == ("agent is not contained",)


async def test_the_longest_incident_id_is_contained_and_released(server: DevServer, world: World) -> None:
    longest = f"INC-{'9' * 60}"
    async with desk_of(server, world, "longest") as desk:
        document = await desk.contained(longest)
        assert document.verdict is Verdict.CONTAINED
        back = await desk.release(longest)
        assert (back.verdict, back.warnings) == (Verdict.RELEASED, ())
        assert desk.problems(document) == desk.problems(back) == []


async def test_a_release_that_is_rejected_and_one_approved_later_say_who_decided_when_and_why(
    server: DevServer, world: World
) -> None:
    async with desk_of(server, world, "decided") as desk:
        await desk.contained("INC-WHOLE-5")
        asked = await desk.asked_for("INC-WHOLE-5")
        no = await desk.decided("INC-WHOLE-5", asked, kind="reject", by="sam", reason="not yet")
        assert (no.verdict, world.open["gateway"]) == (Verdict.REJECTED, False)
        asked = await desk.asked_for("INC-WHOLE-5")
        yes = await desk.decided("INC-WHOLE-5", asked, kind="approve", by="sam", reason="looks clean")
        assert yes.verdict is Verdict.RELEASED
        for document in (no, yes):
            assert desk.problems(document) == []
            (decision,) = document.decisions
            (entry,) = [e for e in desk.custody(document) if e.actor.who == "sam"]
            assert entry.at == decision.decided_at
            assert entry.at > document.triggered_at
            assert entry.summary == f"{decision.kind}: {decision.reason}"


async def test_preview_makes_no_change(server: DevServer, world: World) -> None:
    async with desk_of(server, world, "preview") as desk:
        workload = inventory.load(desk.settings.inventory).workload("agent")
        trigger = Trigger(source="cli", reason="look", requested_by="riley", received_at=now())
        shown = await start.preview(desk.client, desk.settings, workload, trigger)
        assert [step.target.ref for step in shown.steps] == ["role", "role", "gateway", "model", "memory"]
        assert all(world.open.values())
        assert list(world.vault().list("")) == []
