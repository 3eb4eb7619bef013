"""Record one history of every kind of run: ``python -m tests.replay.record``.

Run it once for each released version. Recorded histories are never written again: a workflow that
began under an old version must replay under every later one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.client import Client

from firebreak import __version__, start
from firebreak.codec import data_converter
from firebreak.connect import ensure_search_attributes
from firebreak.devserver import dev_server
from firebreak.model import Consent
from firebreak.record import Decision
from firebreak.settings import Settings
from tests.workflows.script import Act, Script, act
from tests.workflows.stage import Played, Stage, stage_on, until

HISTORIES = Path(__file__).parent / "histories"

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
    return await _released(await _contained(stage, Script(four())))


async def release_rejected(stage: Stage) -> tuple[str, str]:
    """A release that another person does not approve."""
    run = await _contained(stage, Script(four()))
    started = await start.release(stage.client, stage.settings, run.incident_id, by="casey", reason="rebuilt")
    handle = stage.client.get_workflow_handle(started.workflow_id)
    await until(lambda: start.status(handle), lambda document: document.awaiting is not None)
    await start.decide(stage.client, run.incident_id, Decision(kind="reject", by="sam", reason="not yet"))
    await handle.result()
    return started.workflow_id, started.run_id


async def release_refused(stage: Stage) -> tuple[str, str]:
    """A release of what is not what was frozen."""
    return await _released(await _contained(stage, Script(four(), release_refusals=("altered",))))


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
)


async def record(address: str, folder: Path) -> None:
    """Play every scene, and write its history."""
    client = await Client.connect(address, data_converter=data_converter(Settings()), identity="recorder")
    await ensure_search_attributes(client)
    async with stage_on(client) as stage:
        for scene in SCENES:
            workflow_id, run_id = await scene(stage)
            history = await client.get_workflow_handle(workflow_id, run_id=run_id or None).fetch_history()
            text = json.dumps(_without_traces(history.to_json_dict()), indent=1)
            (folder / f"{scene.__name__}.json").write_text(f"{text}\n")


def _without_traces(value: Any) -> Any:
    """Stack traces name folders of the machine that recorded, and play no part in a replay."""
    if isinstance(value, dict):
        return {key: _without_traces(each) for key, each in value.items() if key != "stackTrace"}
    return [_without_traces(each) for each in value] if isinstance(value, list) else value


async def _end(run: Played) -> tuple[str, str]:
    await run.ended()
    return run.handle.id, ""


async def _contained(stage: Stage, script: Script) -> Played:
    run = await stage.play(script)
    await run.ended()
    await until(lambda: _listed(run), bool)
    return run


async def _released(run: Played) -> tuple[str, str]:
    stage = run.stage
    started = await start.release(
        stage.client, stage.settings, run.incident_id, by="casey", approved_by="sam", reason="rebuilt"
    )
    await stage.client.get_workflow_handle(started.workflow_id).result()
    return started.workflow_id, started.run_id


async def _listed(run: Played) -> bool:
    query = f"WorkflowId = '{run.handle.id}' AND ExecutionStatus = 'Completed'"
    return [each async for each in run.stage.client.list_workflows(query)] != []


def main() -> None:
    """Record this version's histories, unless it has some."""
    folder = HISTORIES / f"v{__version__}"
    if any(folder.glob("*.json")):
        sys.exit(f"{folder.name} is recorded already; histories of a released version never change")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, dev_server(Path(scratch), memory=True) as server:
        asyncio.run(record(server.address, folder))


if __name__ == "__main__":
    main()
