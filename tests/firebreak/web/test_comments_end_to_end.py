"""From an alert as its source sends it to the comment on that alert, at start, gates, decisions and ends."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from activities.notify import NotifyActivities
from firebreak import runs, start
from firebreak.model import Verdict, Workload
from firebreak.notify import channels, commenting
from firebreak.record import RunStatus
from firebreak.settings import ConsoleSettings, Settings
from tests.firebreak.notify.vendors import INCIDENTS, ISSUED, SECRET, Vendors, vendors
from tests.firebreak.web.hooks import (
    Hooks,
    hooks_on,
    ids_of,
    payload,
    senders,
    sent,
    settings_for,
    sources_file,
)
from tests.firebreak.web.senders import Keys
from tests.workflows.scripted import ScriptedActivities
from tests.workflows.stage import Stage, scripted_workers, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONSOLE = "https://firebreak.example.org"
WHERE = {
    "pagerduty": "event__data__id",
    "splunk": "result__finding_id",
    "elastic": "finding_id",
    "sentinel": "object__id",
    "wiz": "issue__id",
    "scc": "finding__name",
}
"""Where each source's body holds the alert's id."""
IDS: dict[str, Callable[[], str]] = {
    "pagerduty": lambda: f"Q{secrets.token_hex(6).upper()}",
    "splunk": lambda: f"{uuid.uuid4()}@@notable@@{secrets.token_hex(16)}",
    "elastic": lambda: secrets.token_hex(32),
    "sentinel": lambda: f"{INCIDENTS}/{uuid.uuid4()}",
    "wiz": lambda: str(uuid.uuid4()),
    "scc": lambda: f"organizations/1/sources/2/locations/global/findings/{secrets.token_hex(16)}",
}


@dataclass
class Post:
    """A web application, a workflow worker that comments, and the vendors."""

    stage: Stage
    hooks: Hooks
    vendors: Vendors

    async def alert(self, source: str, finding: str, workload: Workload) -> dict[str, Any]:
        """Send an alert of that id, as the source sends it."""
        values: dict[str, Any] = {WHERE[source]: finding}
        body = payload(source, ids_of(workload), **values)
        answer = await self.hooks.post(source, sent(senders(self.hooks.keys)[source], body))
        assert answer.status_code == 202, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def until(self, told: dict[str, Any], wanted: Callable[[RunStatus], bool]) -> RunStatus:
        """The document of that run once it is as wanted."""
        handle = self.stage.client.get_workflow_handle(told["workflow_id"])
        return await until(lambda: runs.status(handle), wanted)

    async def ended(self, told: dict[str, Any]) -> RunStatus:
        """The document after the run's last page; without it, the next test would join the run."""
        handle = self.stage.client.get_workflow_handle(told["workflow_id"])
        await handle.result()
        return await runs.status(handle)

    async def said(self, finding: str, count: int) -> list[str]:
        """The comments on an alert, once there are that many."""

        async def now() -> list[str]:
            return list(self.vendors.comments.get(finding, ()))

        return await until(now, lambda comments: len(comments) >= count)


@asynccontextmanager
async def posting(
    stage: Stage, keys: Keys, folder: Path, vendor: Vendors, *places: str
) -> AsyncIterator[Post]:
    """All of it on a queue of its own, with comments at these places, or at all of them."""
    settings = settings_for(folder, f"comments-{secrets.token_hex(4)}", 20, answer_seconds=30).model_copy(
        update={"comments": vendor.settings(*places), "console": ConsoleSettings(public_url=CONSOLE)}
    )
    acting = ScriptedActivities()
    async with AsyncExitStack() as stack:
        for each in scripted_workers(stage.client, settings, acting, notifying(settings)):
            await stack.enter_async_context(each)
        hooks = hooks_on(stage.client, settings, keys, sources_file(folder, keys))
        yield Post(Stage(stage.client, settings, acting), hooks, vendor)


def notifying(settings: Settings) -> Any:
    return NotifyActivities(channels(settings), commenting(settings)).notify


@pytest.fixture
def vendor() -> Iterator[Vendors]:
    with vendors() as running:
        yield running


def line(told: dict[str, Any], text: str) -> str:
    return f"Firebreak {told['incident_id']}: {text} {CONSOLE}/incidents/{told['incident_id']}"


GATES = (
    "phase 1 identity revoke: contained",
    "phase 2 network isolate: contained",
    "phase 3 artifact freeze: contained",
    "phase 4 forensic capture: contained",
)


@pytest.mark.parametrize("source", [each for each in WHERE if each != "splunk"])
async def test_an_alert_is_told_of_the_run_that_it_started(
    stage: Stage, keys: Keys, tmp_path: Path, vendor: Vendors, source: str
) -> None:
    finding = IDS[source]()
    vendor.known.add(finding)
    async with posting(stage, keys, tmp_path, vendor) as post:
        workload = post.hooks.workload()
        told = await post.alert(source, finding, workload)
        document = await post.ended(told)
        assert document.verdict is Verdict.CONTAINED
        said = await post.said(finding, 6)
    texts = {line(told, text) for text in (*GATES, f"{workload.id}: contained")}
    assert texts < set(said)
    assert len(said) == 6
    (first,) = set(said) - texts
    assert first.startswith(
        f"Firebreak {told['incident_id']}: {workload.id} (aws, live): containment asked for"
    )
    assert document.notes == ()
    assert vendor.refusals == []


async def test_a_weak_alert_says_that_it_waits_for_a_person(
    stage: Stage, keys: Keys, tmp_path: Path, vendor: Vendors
) -> None:
    finding = IDS["splunk"]()
    vendor.known.add(finding)
    async with posting(stage, keys, tmp_path, vendor, "splunk") as post:
        told = await post.alert("splunk", finding, post.hooks.workload())
        await post.until(told, lambda d: d.awaiting is not None)
        assert line(told, "waits for the decision of a person") in await post.said(finding, 2)
        handle = stage.client.get_workflow_handle(told["workflow_id"])
        await handle.execute_update("reject", {"kind": "reject", "by": "casey", "reason": "a secret reason"})
        assert (await post.ended(told)).verdict is Verdict.REJECTED
        said = await post.said(finding, 3)
    assert any("rejected" in each for each in said)
    assert not [each for each in said if "secret reason" in each or "casey" in each]


async def test_an_alert_that_joins_is_told_and_so_is_everyone_of_the_release(
    stage: Stage, keys: Keys, tmp_path: Path, vendor: Vendors
) -> None:
    first, second = IDS["splunk"](), IDS["pagerduty"]()
    vendor.known |= {first, second}
    async with posting(stage, keys, tmp_path, vendor) as post:
        workload = post.hooks.workload()
        told = await post.alert("splunk", first, workload)
        await post.until(told, lambda d: d.awaiting is not None)
        joined = await post.alert("pagerduty", second, workload)
        assert (joined["incident_id"], joined["joined"]) == (told["incident_id"], True)
        ended = line(told, f"{workload.id}: contained")
        await post.ended(told)
        assert ended in await post.said(second, 5)
        released = await start.release(
            stage.client,
            post.stage.settings,
            told["incident_id"],
            by="riley",
            approved_by="casey",
            reason="rebuilt",
        )
        handle = stage.client.get_workflow_handle(released.workflow_id)
        await handle.result()
        over = line(told, f"{workload.id}: released")
        assert over in await post.said(first, 1)
        assert over in await post.said(second, 1)


@pytest.mark.parametrize(
    "finding", ["../../users/PABCDEF", "https://evil.example/x", "P1\r\nHost: evil.example"]
)
async def test_a_hostile_id_makes_no_request_and_the_run_says_so(
    stage: Stage, keys: Keys, tmp_path: Path, vendor: Vendors, finding: str
) -> None:
    async with posting(stage, keys, tmp_path, vendor) as post:
        told = await post.alert("pagerduty", finding, post.hooks.workload())
        document = await post.ended(told)
        assert document.verdict is Verdict.CONTAINED
        (note,) = document.notes
    assert note.startswith("an alert could not be commented: pagerduty: the alert's id is not")
    assert vendor.calls == []


async def test_a_place_that_comes_back_gets_its_comments_and_the_others_get_theirs_once(
    stage: Stage, keys: Keys, tmp_path: Path, vendor: Vendors
) -> None:
    late, prompt = IDS["splunk"](), IDS["pagerduty"]()
    vendor.known |= {late, prompt}
    vendor.away = "/splunk"
    async with posting(stage, keys, tmp_path, vendor) as post:
        workload = post.hooks.workload()
        told = await post.alert("splunk", late, workload)
        await post.alert("pagerduty", prompt, workload)
        gates = {line(told, text) for text in GATES}
        await until(lambda: post.said(prompt, 1), gates.issubset)
        vendor.away = ""
        document = await post.ended(told)
        await until(lambda: post.said(late, 1), gates.issubset)
    assert document.verdict is Verdict.CONTAINED
    assert len(set(vendor.comments[prompt])) == len(vendor.comments[prompt])
    assert len(set(vendor.comments[late])) == len(vendor.comments[late])


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_a_place_that_is_dead_changes_neither_verdict_nor_time(
    stage: Stage, keys: Keys, tmp_path: Path, vendor: Vendors, capfd: pytest.CaptureFixture[str], status: int
) -> None:
    vendor.status = status
    async with posting(stage, keys, tmp_path, vendor, "pagerduty") as post:
        told = await post.alert("pagerduty", IDS["pagerduty"](), post.hooks.workload())
        document = await post.ended(told)
        assert document.verdict is Verdict.CONTAINED
        assert document.elapsed_seconds < 10
        notes = document.notes
    assert notes
    assert {"an alert could not be commented", "the on-call could not be paged"} & {
        note.partition(" (")[0].partition(":")[0] for note in notes
    }
    out = capfd.readouterr()
    said = f"{notes} {out.out} {out.err}"
    assert SECRET not in said
    assert ISSUED not in said
