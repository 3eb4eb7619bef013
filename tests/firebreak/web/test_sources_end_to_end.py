"""Each source's own payload starts the right workload's containment; every bad variant starts nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from firebreak import intake, runs, start
from firebreak.model import Verdict, Workload
from firebreak.record import Trigger
from firebreak.web.webhook.sources import ADAPTERS
from tests.firebreak.web.hooks import UNKNOWN, Hooks, ids_of, payload, senders, sent
from tests.firebreak.web.senders import Sent
from tests.workflows.stage import Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

A_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+\.")
"""RFC 7515, section 3.1: a compact token's header is base64url of `{"`, and points part it from the rest."""


@dataclass(frozen=True)
class Case:
    """How one source says what a containment must not start for."""

    source: str
    kind: str
    done: Mapping[str, Any]
    """Changes that make it resolved or closed."""
    sample: Mapping[str, Any]
    """Changes that make it a sample."""
    stale: int
    """The answer to an old request: 401 where a time is signed, 422 where only the body has one."""
    weak: bool = False
    missing: str = ""
    """A path without which it is not what the source sends."""
    more_done: tuple[Mapping[str, Any], ...] = field(default=())


OCSF = {"verdict_id": 6}
CASES = (
    Case(
        "sentinel",
        "sentinel",
        {"object__properties__status": "Closed"},
        {},
        401,
        missing="object__id",
    ),
    Case(
        "azure-monitor",
        "azure_monitor",
        {"data__essentials__monitorCondition": "Resolved"},
        {"data__customProperties__sample": "true"},
        401,
        missing="data__essentials__alertId",
    ),
    Case("splunk", "splunk", {"result__status": "closed"}, {"result__sample": "1"}, 422, True, "sid"),
    Case(
        "splunk-observability",
        "splunk_observability",
        {"statusExtended": "ok"},
        {"dimensions__sample": "true"},
        422,
        missing="incidentId",
    ),
    Case(
        "guardduty",
        "guardduty",
        {"detail__service__archived": True},
        {"detail__service__additionalInfo__sample": True},
        422,
        True,
        "detail__id",
    ),
    Case(
        "guardduty-sns",
        "guardduty",
        {"detail__service__archived": True},
        {"detail__title": "[SAMPLE] Credentials were used"},
        401,
        missing="detail__id",
    ),
    Case(
        "security-hub",
        "security_hub",
        {"detail__findings__0__Workflow__Status": "RESOLVED"},
        {"detail__findings__0__Sample": True},
        401,
        missing="detail__findings",
        more_done=(
            {"detail__findings__0__RecordState": "ARCHIVED"},
            {"detail__findings__0__Workflow__Status": "SUPPRESSED"},
        ),
    ),
    Case(
        "security-hub-v2",
        "security_hub_v2",
        {"detail__findings__0__status_id": 4},
        {"detail__findings__0__verdict_id": 6},
        401,
        missing="detail__findings",
    ),
    Case(
        "scc",
        "scc",
        {"finding__state": "INACTIVE"},
        {"finding__sourceProperties__sample": "true"},
        401,
        missing="finding__name",
        more_done=({"finding__mute": "MUTED"},),
    ),
    Case(
        "gcp-monitoring",
        "gcp_monitoring",
        {"incident__state": "closed"},
        {"version": "test"},
        422,
        True,
        "incident__incident_id",
    ),
    Case(
        "pagerduty",
        "pagerduty",
        {"event__event_type": "incident.resolved"},
        {"event__event_type": "pagey.ping"},
        422,
        missing="event__event_type",
        more_done=(
            {"event__event_type": "incident.acknowledged"},
            {"event__event_type": "incident.annotated"},
        ),
    ),
    Case("elastic", "elastic", {"status": "recovered"}, {"sample": "true"}, 422, missing="finding_id"),
    Case(
        "datadog",
        "datadog",
        {"alert_transition": "Recovered"},
        {"title": "[TEST] agent egress"},
        422,
        True,
        "alert_cycle_key",
    ),
    Case(
        "falco",
        "falcosidekick",
        {"output_fields__status": "resolved"},
        {"rule": "Test rule"},
        422,
        missing="uuid",
    ),
    Case("wiz", "wiz", {"issue__status": "RESOLVED"}, {"sample": "true"}, 401, missing="issue__id"),
    Case(
        "ocsf",
        "ocsf",
        {"activity_id": 3},
        OCSF,
        401,
        missing="finding_info",
        more_done=({"status_id": 4}, {"status_id": 3}, {"verdict_id": 1}),
    ),
)
SAMPLED = tuple(case for case in CASES if case.sample)

each_source = pytest.mark.parametrize("case", CASES, ids=lambda case: case.source)


def body_of(case: Case, workload: Workload, at: datetime | None = None, **values: Any) -> dict[str, Any]:
    return payload(case.kind, ids_of(workload), at, **values)


async def send(
    hooks: Hooks,
    case: Case,
    body: Any,
    at: datetime | None = None,
    change: Callable[[Sent], None] | None = None,
) -> httpx.Response:
    request = sent(senders(hooks.keys)[case.source], body, at)
    if change is not None:
        change(request)
    return await hooks.post(case.source, request)


async def test_every_adapter_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(ADAPTERS)


@each_source
async def test_its_own_payload_starts_the_right_workload(stage: Stage, hooks: Hooks, case: Case) -> None:
    workload, bystander = hooks.workload(), hooks.workload()
    body = body_of(case, workload)
    request = sent(senders(hooks.keys)[case.source], body)
    answer = await hooks.post(case.source, request)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["status"], told["joined"], told["repeated"]) == ("started", False, False)
    assert told["workflow_id"] == start.workflow_id(workload)
    handle = stage.client.get_workflow_handle(told["workflow_id"])
    if case.weak:
        document = await until(lambda: runs.status(handle), lambda d: d.awaiting is not None)
        assert document.awaiting is not None
        await handle.execute_update("approve", {"kind": "approve", "by": "casey", "reason": "seen it"})
    document = await until(lambda: runs.status(handle), lambda d: d.finished)
    assert (document.workload_id, document.verdict) == (workload.id, Verdict.CONTAINED)
    assert document.incident_id == told["incident_id"]
    assert bool(document.decisions) is case.weak
    (kept,) = stage.acting.of(told["incident_id"]).kept
    assert kept.received.sha256 == hashlib.sha256(request.body).hexdigest()
    assert await hooks.runs(bystander) == 0


@each_source
async def test_the_raw_bytes_and_the_headers_are_durable_and_hold_no_secret(
    stage: Stage, hooks: Hooks, case: Case
) -> None:
    request = sent(senders(hooks.keys)[case.source], body_of(case, hooks.workload()))
    told = (await hooks.post(case.source, request)).json()
    run = stage.client.get_workflow_handle(told["workflow_id"])
    first = [each async for each in run.fetch_history_events()][1]  # the start signal that brings the alert
    payloads = first.workflow_execution_signaled_event_attributes.input.payloads
    (trigger,) = await stage.client.data_converter.decode(payloads, [Trigger])
    delivery_handle = stage.client.get_workflow_handle(trigger.received.delivery)
    delivery = await intake.read(stage.client, (await delivery_handle.fetch_history()).events[0])
    assert gzip.decompress(delivery.body) == request.body
    assert trigger.received.sha256 == delivery.sha256 == hashlib.sha256(request.body).hexdigest()
    text = json.dumps([delivery.headers, delivery.caller, trigger.model_dump(mode="json")])
    assert not any(secret in text for secret in hooks.keys.secrets.values())
    assert not A_JWT.search(text)
    await run.terminate() if case.weak else await run.result()


@each_source
async def test_a_wrong_signature_is_401_and_starts_nothing(hooks: Hooks, case: Case) -> None:
    workload = hooks.workload()

    def tamper(request: Sent) -> None:
        if case.source in {"pagerduty", "splunk-observability", "ocsf"} or not (
            request.headers or request.query
        ):
            request.body = request.body.replace(b"e", b"E", 1)
        elif request.query:
            request.query["token"] += "x"
        else:
            name = next(iter(request.headers))
            request.headers[name] = request.headers[name][:-8] + "AAAAAAAA"

    answer = await send(hooks, case, body_of(case, workload), change=tamper)
    assert (answer.status_code, answer.json()) == (401, {"detail": "unauthorized"})
    assert await hooks.runs(workload) == 0


@each_source
async def test_without_any_proof_it_is_the_same_401(hooks: Hooks, case: Case) -> None:
    workload = hooks.workload()
    answer = await hooks.post(case.source, Sent(json.dumps(body_of(case, workload)).encode()))
    assert (answer.status_code, answer.json()) == (401, {"detail": "unauthorized"})
    assert await hooks.runs(workload) == 0


@each_source
async def test_a_stale_request_starts_nothing(hooks: Hooks, case: Case) -> None:
    workload, old = hooks.workload(), datetime.now(UTC) - timedelta(days=30)
    answer = await send(hooks, case, body_of(case, workload, old), old)
    assert answer.status_code == case.stale, answer.text
    assert await hooks.runs(workload) == 0


@each_source
async def test_a_replay_has_the_same_answer_and_starts_nothing_more(
    stage: Stage, hooks: Hooks, case: Case
) -> None:
    request = sent(senders(hooks.keys)[case.source], body_of(case, hooks.workload()))
    first, again = [(await hooks.post(case.source, request)).json() for _ in range(2)]
    assert again == first | {"repeated": True}
    handle = stage.client.get_workflow_handle(first["workflow_id"])
    document = await until(lambda: runs.status(handle), lambda d: bool(d.alerts))
    assert document.alerts == 1
    await handle.terminate() if case.weak else await handle.result()


@each_source
async def test_an_oversized_body_is_413_and_starts_nothing(hooks: Hooks, case: Case) -> None:
    workload = hooks.workload()
    answer = await send(hooks, case, body_of(case, workload, padding="x" * 300_000))
    assert answer.status_code == 413
    assert await hooks.runs(workload) == 0


@each_source
async def test_a_malformed_body_is_422_and_people_are_told(stage: Stage, hooks: Hooks, case: Case) -> None:
    workload = hooks.workload()
    answer = await send(hooks, case, body_of(case, workload, **{case.missing: None}))
    assert answer.status_code == 422, answer.text
    assert await hooks.runs(workload) == 0
    reference = answer.json()["detail"].rsplit(" ", 1)[1]
    recording = stage.acting.of(reference)
    await until(lambda: _pages(recording), lambda pages: len(pages) == 1)


@each_source
async def test_what_is_no_json_is_422_and_starts_nothing(hooks: Hooks, case: Case) -> None:
    answer = await send(hooks, case, b'{"cut": ')
    assert answer.status_code == 422, answer.text


@each_source
async def test_what_is_over_starts_nothing(hooks: Hooks, case: Case) -> None:
    workload = hooks.workload()
    for done in (case.done, *case.more_done):
        answer = await send(hooks, case, body_of(case, workload, **done))
        assert (answer.status_code, answer.json()["status"]) == (202, "ignored"), answer.text
    assert await hooks.runs(workload) == 0


@pytest.mark.parametrize("case", SAMPLED, ids=lambda case: case.source)
async def test_a_sample_starts_nothing(hooks: Hooks, case: Case) -> None:
    workload = hooks.workload()
    answer = await send(hooks, case, body_of(case, workload, **case.sample))
    assert answer.json() == {"status": "ignored", "repeated": False, "reason": "a sample finding"}
    assert await hooks.runs(workload) == 0


@each_source
async def test_an_unknown_resource_pages_people_and_starts_nothing(
    stage: Stage, hooks: Hooks, case: Case
) -> None:
    answer = await send(hooks, case, payload(case.kind, UNKNOWN))
    told = answer.json()
    assert (answer.status_code, told["status"]) == (202, "paged")
    assert "no workload of the inventory" in told["reason"]
    recording = stage.acting.of(told["reference"])
    (page,) = await until(lambda: _pages(recording), lambda pages: len(pages) == 1)
    assert (page.kind, case.source in page.message) == ("unresolved_alert", True)
    assert recording.count("plan") == recording.count("contain") == 0


async def _pages(recording: Any) -> list[Any]:
    return list(recording.pages)
