"""Record one history of every kind of run: ``python -m tests.replay.record``.

Run it once for each released version. Recorded histories are never written again: a workflow that
began under an old version must replay under every later one. ``python -m tests.replay.record unreleased``
records what today's code does, again whenever that has changed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client

from firebreak import __version__, intake, runs, start
from firebreak.codec import data_converter
from firebreak.connect import ensure_search_attributes
from firebreak.delivery import DeliveryInput
from firebreak.devserver import dev_server
from firebreak.errors import EvidenceError
from firebreak.model import Consent, Workload
from firebreak.record import Decision
from firebreak.settings import Settings
from tests.workflows.script import Act, Script, act
from tests.workflows.stage import Played, Stage, stage_on, until, workload_named
from tests.workflows.test_delivery import delivery_of

HISTORIES = Path(__file__).parent / "histories"
UNRELEASED = "unreleased"

Scene = Callable[[Stage], Awaitable[tuple[str, str]]]
"""Plays a run to its end; returns its workflow and run id."""


def four(*instead: Act) -> tuple[Act, ...]:
    """One step in each phase, to keep the files small."""
    usual = (act("deny-all", 1), act("quarantine", 2), act("lock-objects", 3), act("capture-audit-log", 4))
    replaced = {each.phase: each for each in instead}
    return tuple(replaced.get(each.phase, each) for each in usual)


async def contained(stage: Stage) -> tuple[str, str]:
    """The usual end."""
    return await _end(await stage.play(Script(four())))


async def unproven_and_retried(stage: Stage) -> tuple[str, str]:
    """A failing step, a retry, and a risk that a person accepted."""
    part = act("quarantine", 2, "permanent", "unproven")
    run = await stage.play(Script(four(part)))
    for kind in ("retry", "proceed"):
        await run.asked()
        await run.decide(kind)
    return await _end(run)


async def approved(stage: Stage) -> tuple[str, str]:
    """Two people agree."""
    run = await stage.play(Script(four(), consent=Consent(mode="approval", approvers=2)))
    await run.asked()
    await run.decide("approve", by="casey")
    await run.decide("approve", by="sam")
    return await _end(run)


async def rejected(stage: Stage) -> tuple[str, str]:
    """One person disagrees."""
    run = await stage.play(Script(four(), consent=Consent(mode="approval")))
    await run.asked()
    await run.decide("reject")
    return await _end(run)


async def deferred(stage: Stage) -> tuple[str, str]:
    """Flow logs that come after phase 3, an interrupted worker, and a pre-capture."""
    memory = Act("aws.capture-memory-store", four()[3].phase, preserve_first=True, plays=("interrupted",))
    script = Script(four(act("quarantine", 2, "awaiting"), memory), flow_log_gate="deferred")
    return await _end(await stage.play(script))


async def stopped(stage: Stage) -> tuple[str, str]:
    """A person ends the run at a gate."""
    run = await stage.play(Script(four(act("lock-objects", 3, then="permanent"))))
    await run.asked()
    await run.decide("stop")
    return await _end(run)


async def refused(stage: Stage) -> tuple[str, str]:
    """The guard says no."""
    return await _end(await stage.play(Script(four(), refusals=("a protected principal",))))


async def released(stage: Stage) -> tuple[str, str]:
    """A contained workload is given back."""
    return await _released(await stage.contained(Script(four())))


async def release_rejected(stage: Stage) -> tuple[str, str]:
    """A release that another person does not approve."""
    return await _decided_release(stage, Decision(kind="reject", by="sam", reason="not yet"))


async def release_refused(stage: Stage) -> tuple[str, str]:
    """A release of what is not what was frozen."""
    return await _released(await stage.contained(Script(four(), release_refusals=("altered",))))


async def released_later(stage: Stage) -> tuple[str, str]:
    """A release that waits until another person approves it."""
    return await _decided_release(stage, Decision(kind="approve", by="sam", reason="looked at it"))


async def cleared(stage: Stage) -> tuple[str, str]:
    """A weak alert asks people, and a stronger one that joins does not."""
    run = await stage.play(Script(four()), consent="confirm")
    await run.asked()
    await run.handle.signal("record_alert", await stage.trigger(confirmed=True))
    return await _end(run)


async def stopped_while_planning(stage: Stage) -> tuple[str, str]:
    """Nothing is captured and nothing changed."""
    held = asyncio.Event()
    memory = Act("aws.capture-memory-store", four()[3].phase, preserve_first=True)
    run = await stage.play(Script(four(memory), planning_held=held))
    await until(run.status, lambda _: run.recording.count("plan") > 0)
    await run.decide("stop")
    held.set()
    return await _end(run)


async def cancelled(stage: Stage) -> tuple[str, str]:
    """Somebody cancels the workflow while it waits for people."""
    run = await stage.play(Script(four(act("quarantine", 2, then="permanent"))))
    await run.asked()
    await run.handle.cancel()
    return await _end(run)


async def sealed_again(stage: Stage) -> tuple[str, str]:
    """The evidence store is away at the end, and a person tries again."""
    run = await stage.play(Script(four(), package_errors=(EvidenceError,)))
    await run.asked()
    await run.decide("retry")
    return await _end(run)


async def clock_ahead(stage: Stage) -> tuple[str, str]:
    """The caller's clock is fast; a guard says no, to keep the file small."""
    fast = await stage.now() + timedelta(minutes=20)
    return await _end(await stage.play(Script(four(), refusals=("a protected principal",)), received_at=fast))


async def raw_alert(stage: Stage) -> tuple[str, str]:
    """A containment that a delivery started by itself, with its raw alert kept."""
    name, delivery = await _delivered(stage, workload_named(f"agent-{secrets.token_hex(6)}"))
    await stage.client.get_workflow_handle(name).result()
    await stage.client.get_workflow_handle(delivery.containment_id).result()
    return delivery.containment_id, ""


async def delivery_alone(stage: Stage) -> tuple[str, str]:
    """A delivery whose web process died."""
    name, _ = await _delivered(stage, workload_named(f"agent-{secrets.token_hex(6)}"))
    await stage.client.get_workflow_handle(name).result()
    return name, ""


async def delivery_joined(stage: Stage) -> tuple[str, str]:
    """The same, for a workload that is being contained."""
    run = await stage.play(Script(four(), consent=Consent(mode="approval")))
    await run.asked()
    name, _ = await _delivered(stage, run.workload)
    await stage.client.get_workflow_handle(name).result()
    await run.handle.terminate()
    return name, ""


async def delivery_unresolved(stage: Stage) -> tuple[str, str]:
    """An alert that names no workload."""
    name, _ = await _delivered(stage, None)
    await stage.client.get_workflow_handle(name).result()
    return name, ""


async def alarmed(stage: Stage) -> tuple[str, str]:
    """Something that belongs to no run."""
    reference = secrets.token_hex(6)
    await start.alarm(stage.client, stage.settings, reference=reference, kind="sealed", message="it was used")
    await stage.client.get_workflow_handle(f"alarm-{reference}").result()
    return f"alarm-{reference}", ""


async def relieved(stage: Stage) -> tuple[str, str]:
    """The sentry of a run that ended by itself."""
    run = await stage.play(Script(four(), refusals=("a protected principal",)))
    await run.ended()
    return await _sentry(run)


async def lost(stage: Stage) -> tuple[str, str]:
    """The sentry of a run that was terminated."""
    run = await stage.play(Script(four(), consent=Consent(mode="approval")))
    await run.asked()
    await run.handle.terminate()
    return await _sentry(run)


async def followed(stage: Stage) -> tuple[str, str]:
    """The sentry of a rejected run that a confirmed alert joined too late."""
    held = asyncio.Event()
    run = await stage.play(Script(four(), consent=Consent(mode="approval"), package_held=held))
    await run.asked()
    first = (await run.handle.describe()).run_id
    await run.decide("reject")
    await run.handle.signal("record_alert", await stage.trigger(confirmed=True))
    held.set()
    await stage.client.get_workflow_handle(run.handle.id, run_id=first).result()
    return await _sentry(run, first)


SCENES: tuple[Scene, ...] = (
    contained,
    unproven_and_retried,
    approved,
    rejected,
    deferred,
    stopped,
    refused,
    released,
    release_rejected,
    release_refused,
    released_later,
    cleared,
    stopped_while_planning,
    cancelled,
    sealed_again,
    clock_ahead,
    raw_alert,
    delivery_alone,
    delivery_joined,
    delivery_unresolved,
    alarmed,
    relieved,
    lost,
    followed,
)


async def record(address: str, folder: Path) -> None:
    """Play every scene, and write its history."""
    client = await Client.connect(address, data_converter=data_converter(Settings()), identity="recorder")
    await ensure_search_attributes(client)
    async with stage_on(client) as stage:
        for scene in SCENES:
            workflow_id, run_id = await scene(stage)
            history = await client.get_workflow_handle(workflow_id, run_id=run_id or None).fetch_history()
            text = json.dumps(_without_traces(history.to_json_dict()), separators=(",", ":"))
            (folder / f"{scene.__name__}.json").write_text(f"{text}\n")


def _without_traces(value: Any) -> Any:
    """Stack traces name folders of the machine that recorded, and play no part in a replay."""
    if isinstance(value, dict):
        return {key: _without_traces(each) for key, each in value.items() if key != "stackTrace"}
    return [_without_traces(each) for each in value] if isinstance(value, list) else value


async def _end(run: Played) -> tuple[str, str]:
    await run.ended()
    return run.handle.id, ""


async def _decided_release(stage: Stage, decision: Decision) -> tuple[str, str]:
    run = await stage.contained(Script(four()))
    started = await run.release(approved_by="")
    handle = stage.client.get_workflow_handle(started.workflow_id)
    await until(lambda: runs.status(handle), lambda document: document.awaiting is not None)
    await runs.decide(stage.client, run.incident_id, decision)
    await handle.result()
    return started.workflow_id, started.run_id


async def _released(run: Played) -> tuple[str, str]:
    started = await run.release()
    await run.stage.client.get_workflow_handle(started.workflow_id).result()
    return started.workflow_id, started.run_id


async def _sentry(run: Played, run_id: str = "") -> tuple[str, str]:
    name = f"sentry-{run_id or (await run.handle.describe()).run_id}"
    await run.stage.client.get_workflow_handle(name).result()
    return name, ""


async def _delivered(stage: Stage, workload: Workload | None) -> tuple[str, DeliveryInput]:
    name = intake.delivery_id("siem", secrets.token_hex(8))
    stage.acting.otherwise = lambda: Script(four())
    delivery = await delivery_of(stage, name, workload)
    await stage.client.start_workflow("delivery", delivery, id=name, task_queue=stage.settings.task_queue)
    return name, delivery


def main() -> None:
    """Record this version's histories, unless it has some, or those of what is not released."""
    folder = HISTORIES / (UNRELEASED if sys.argv[1:] == [UNRELEASED] else f"v{__version__}")
    if folder.name != UNRELEASED and any(folder.glob("*.json")):
        sys.exit(f"{folder.name} is recorded already; histories of a released version never change")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, dev_server(Path(scratch), memory=True) as server:
        asyncio.run(record(server.address, folder))


if __name__ == "__main__":
    main()
