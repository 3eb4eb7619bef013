from __future__ import annotations

import json
import resource
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from azure.cosmos import CosmosClient
from azure.storage.blob import BlobServiceClient

from drills.sandbox.azure.client import AzureSandbox
from firebreak import capture
from firebreak.capture import PART_BYTES
from firebreak.errors import Irreversible, PermanentCloudError, TransientCloudError
from firebreak.measure import Context, measure
from firebreak.model import Method
from providers.azure.permissions import missing
from providers.azure.session import AzureAccess
from tests.drills.sandbox.azure.places import CONTRIBUTOR, Bearer
from tests.providers.azure.evidenceground import Ground, killed_at
from tests.providers.capturing import Step
from tests.providers.driving import holds

MIB = 1024 * 1024
WORKSPACE = "Microsoft.OperationalInsights/workspaces"


@pytest.fixture
def ground(world: Any) -> Ground:
    return Ground(world)


@pytest.fixture(autouse=True)
def defaults(sandbox: AzureSandbox) -> Iterator[None]:
    yield
    sandbox.clear_faults()
    sandbox.configure(
        logs_most_records=500_000, logs_most_bytes=100_000_000, snapshot_immutability=1, lro_seconds=0
    )


def step_of(name: str, context: Context[AzureAccess]) -> Any:
    return measure(name)(context)


def workload_logs(ground: Ground, table: str, rows: Any = ()) -> Step:
    return Step(ground, "azure.capture-workload-logs", evidence_sources=(ground.logs(table, rows),))


def test_logs_are_captured_raw_and_proved(ground: Ground) -> None:
    step = workload_logs(ground, "Agent_CL", [{"Prompt": f"p{n}", "Tokens": n} for n in range(40)])
    change = step.apply()
    records = step.records(change)
    assert change.after["records"] == len(records) == 40
    assert {each["Prompt"] for each in records} == {f"p{n}" for n in range(40)}
    assert {"TimeGenerated", "_ItemId", "Tokens"} <= set(records[0])
    (exhibit,) = change.exhibits
    assert exhibit.stored.locked_until is not None
    assert exhibit.stored.uri.endswith(exhibit.evidence_id)
    assert exhibit.source.endswith("/tables/Agent_CL")
    findings = step.verify(change)
    assert holds(findings)
    assert {finding.method for finding in findings} == {Method.CONFIGURATION, Method.LIVE_PROBE}


def test_an_empty_window_is_an_exhibit_too(ground: Ground) -> None:
    old = f"{datetime.now(UTC) - timedelta(days=3):%Y-%m-%dT%H:%M:%S}.0000000Z"
    step = workload_logs(ground, "Agent_CL", [{"TimeGenerated": old}])
    change = step.apply()
    assert change.after["records"] == 0
    assert change.exhibits[0].stored.size == 0
    assert holds(step.verify(change))


def test_evidence_is_never_given_back(ground: Ground) -> None:
    step = workload_logs(ground, "Agent_CL", [{}])
    with pytest.raises(Irreversible, match="evidence is kept"):
        step.attempt().revert(step.apply())


def test_an_altered_missing_or_unlocked_exhibit_is_seen(ground: Ground) -> None:
    step = workload_logs(ground, "Agent_CL", [{}] * 3)
    change = step.apply()
    (exhibit,) = change.exhibits
    version = exhibit.stored.version_id
    for wrong in ({"sha256": "0" * 64}, {"version_id": f"2020{version[4:]}"}):
        forged = exhibit.model_copy(update={"stored": exhibit.stored.model_copy(update=wrong)})
        assert not step.attempt()._reread(change.model_copy(update={"exhibits": (forged,)})).holds
    assert not holds(step.verify(change.model_copy(update={"exhibits": ()})))
    fewer = change.model_copy(update={"after": {**change.after, "records": 7}})
    assert not holds(step.verify(fewer))
    vault = step.context.vault
    client = BlobServiceClient(vault.account_url, Bearer(ground.sandbox))
    name = vault._name("INC-x/data/free.jsonl")
    unlocked = client.get_blob_client(vault.container, name).upload_blob(b"")
    free = exhibit.stored.model_copy(
        update={
            "uri": vault.uri("INC-x/data/free.jsonl"),
            "version_id": unlocked["version_id"],
            "sha256": sha256(b"").hexdigest(),
        }
    )
    loose = change.model_copy(update={"exhibits": (exhibit.model_copy(update={"stored": free}),)})
    assert not step.attempt()._locked(loose).holds


@pytest.mark.parametrize("crash_at", [1, 2, 9, 10, 25])
def test_a_killed_capture_resumes_without_loss_or_repetition(ground: Ground, crash_at: int) -> None:
    step = workload_logs(ground, "Firebreak_24MiB_CL")
    killed_at(step, crash_at)
    change = step.apply()
    ids = [each["_ItemId"] for each in step.records(change)]
    assert len(ids) == len(set(ids)) == change.after["records"] == 24 * 64
    assert ids == sorted(ids)
    assert all(each.stored.size <= PART_BYTES for each in change.exhibits)
    again = step.apply()  # killed after the end, before the answer was recorded
    assert again.exhibits == change.exhibits


@pytest.mark.parametrize("limit", [{"logs_most_records": 7}, {"logs_most_bytes": 100_000}])
def test_a_partial_answer_is_never_taken_for_a_complete_one(ground: Ground, limit: dict[str, float]) -> None:
    """Four records share each time, so that a cut falls between records of one time."""
    step = workload_logs(ground, "Firebreak_2MiB_CL")
    ground.sandbox.configure(**limit)
    change = step.apply()
    ids = [each["_ItemId"] for each in step.records(change)]
    assert len(ids) == len(set(ids)) == change.after["records"] == 128
    assert holds(step.verify(change))


def test_nothing_but_partial_answers_is_a_failure(ground: Ground) -> None:
    step = workload_logs(ground, "Firebreak_1MiB_CL")
    ground.sandbox.configure(logs_most_bytes=10)
    with pytest.raises(TransientCloudError, match="only a part of the answer came"):
        step.apply()


def test_throttling_and_server_errors_lose_nothing(ground: Ground) -> None:
    step = workload_logs(ground, "Firebreak_8MiB_CL")
    ground.sandbox.inject("throttle", host="logs", times=1, retry_after=0)
    ground.sandbox.inject("error503", host="blob", times=1)
    change = None
    for _ in range(6):  # what Temporal does: the same step again, from its last report on
        try:
            change = step.apply()
            break
        except TransientCloudError:
            continue
    assert change is not None
    ids = [each["_ItemId"] for each in step.records(change)]
    assert len(ids) == len(set(ids)) == 8 * 64
    assert holds(step.verify(change))


def test_what_a_log_says_never_becomes_a_query(ground: Ground) -> None:
    """The position behind a page is text of the log; only a time and an id may go into the next query."""
    step = workload_logs(ground, "Agent_CL", [{"N": n} for n in range(300)])
    step.last = {
        "capture": {"until": "2026-01-01T00:00:00Z", "time": "", "item": "", "rows": 5, "done": False}
    }
    from providers.azure.forensics import workloadlogs  # noqa: PLC0415

    bad = {"TimeGenerated": "2026-01-01T00:00:00Z) | take 0", "_ItemId": "x"}
    answer = {"tables": [{"columns": [{"name": k} for k in bad], "rows": [list(bad.values())]}]}
    with pytest.raises(PermanentCloudError, match="where a time or an id belongs"):
        workloadlogs._read(answer, 100, workloadlogs.Cursor(until="2026-01-01T00:00:00Z"))


def test_many_parts_are_listed_and_heartbeats_stay_small(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "PART_BYTES", MIB // 4)
    monkeypatch.setattr(capture, "_LISTED", 5)
    step = workload_logs(ground, "Firebreak_12MiB_CL")
    sizes: list[int] = []
    change = step.attempt(lambda progress: sizes.append(len(json.dumps(progress)))).apply(
        step.target, step.state
    )
    assert len(change.exhibits) > 10
    assert max(sizes) < 8_000
    assert step.apply().exhibits == change.exhibits
    assert holds(step.verify(change))


def test_capture_memory_stays_flat(ground: Ground) -> None:
    workload_logs(ground, "Firebreak_16MiB_CL").apply()
    large = workload_logs(ground, "Firebreak_64MiB_CL")
    tracemalloc.start()
    change = large.apply()
    findings = large.verify(change)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert holds(findings)
    assert sum(each.stored.size for each in change.exhibits) > 64 * MIB
    assert peak < 56 * MIB  # httpx answers wait for the garbage collector in cycles


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_gigabyte_of_log_is_captured_in_flat_memory(ground: Ground) -> None:
    step = workload_logs(ground, "Firebreak_1024MiB_CL")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    change = step.apply()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert sum(each.stored.size for each in change.exhibits) > 1024 * MIB
    assert grown < 100 * 1024  # KiB
    assert holds(step.verify(change))


@pytest.mark.parametrize("action", [f"{WORKSPACE}/query/read", f"{WORKSPACE}/query/Agent_CL/read"])
def test_each_permission_is_needed(ground: Ground, action: str) -> None:
    workload = ground.workload(evidence_sources=(ground.logs("Agent_CL", [{}]),))
    name = "azure.capture-workload-logs"
    bound = ground.world.least(workload, name, without=action)
    needs = [(measure(name), target) for target in measure(name).applies_to(workload)]
    access = AzureAccess(ground.world.run(bound), ground.world.settings)
    assert any(each.startswith(action) for each in missing(access, needs))
    context = ground.context(bound)
    with pytest.raises(PermanentCloudError, match="InsufficientAccessError"):
        list(step_of(name, context).pages(needs[0][1], {}))


def test_the_activity_log_of_the_window(ground: Ground) -> None:
    for _ in range(3):
        ground.sandbox.arm("PUT", ground.places.group, "2021-04-01", {"location": "westeurope"})
    step = Step(
        ground,
        "azure.capture-activity-log",
        evidence_sources=({"kind": "activity-log", "ref": ground.workload().account},),
    )
    change = step.apply()
    records = step.records(change)
    assert change.after["records"] == len(records)
    assert len({each["eventDataId"] for each in records}) == len(records)
    mine = [each for each in records if each["resourceId"] == ground.places.group]
    assert len(mine) == 4
    assert {"caller", "operationName", "eventTimestamp", "httpRequest"} <= set(mine[0])
    assert holds(step.verify(change))


@pytest.mark.parametrize("crash_at", [1, 2])
def test_a_killed_activity_log_capture_resumes(
    ground: Ground, crash_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "PART_BYTES", 100_000)
    for _ in range(450):
        ground.sandbox.arm("PUT", ground.places.group, "2021-04-01", {"location": "westeurope"})
    step = Step(
        ground,
        "azure.capture-activity-log",
        evidence_sources=({"kind": "activity-log", "ref": ground.workload().account},),
    )
    killed_at(step, crash_at)
    change = step.apply()
    events = [
        each["eventDataId"] for each in step.records(change) if each["resourceId"] == ground.places.group
    ]
    assert len(events) == len(set(events)) == 451


def flow_log(ground: Ground, bodies: dict[str, bytes], **properties: Any) -> dict[str, Any]:
    """A flow log and the files that it has delivered."""
    watcher = ground.places.put("Microsoft.Network/networkWatchers/watcher", "2025-07-01", {"properties": {}})
    network = ground.places.put(
        "Microsoft.Network/virtualNetworks/net",
        "2025-07-01",
        {"properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}},
    )
    container = ground.container({}, "insights-logs-flowlogflowevent")
    account = container.partition("/blobServices/")[0]
    values = {"targetResourceId": network["id"], "storageId": account, "enabled": True, **properties}
    made = ground.places.put(f"{watcher['id']}/flowLogs/flows", "2025-07-01", {"properties": values})
    group = ground.places.group.split("/")
    root = f"flowLogResourceID=/{group[2]}_{group[4]}/WATCHER_FLOWS".upper().replace(
        "FLOWLOGRESOURCEID", "flowLogResourceID"
    )
    name = account.rpartition("/")[2]
    blobs = BlobServiceClient(f"https://{name}.blob.core.windows.net", Bearer(ground.sandbox))
    for key, body in bodies.items():
        blobs.get_blob_client("insights-logs-flowlogflowevent", f"{root}/{key}").upload_blob(body)
    return {"kind": "flow-log", "ref": made["id"], "storage_account": account}


def hour(back: int) -> str:
    moment = datetime.now(UTC) - timedelta(hours=back)
    return f"{moment:y=%Y/m=%m/d=%d/h=%H}/m=00"


def test_flow_log_files_of_the_window_are_copied_raw(ground: Ground) -> None:
    bodies = {
        f"{hour(back)}/macAddress=0022482CBF1{nic}/PT1H.json": f'{{"records":[{back},{nic}]}}'.encode()
        for back in (0, 1, 5)
        for nic in (1, 2)
    }
    old = {f"{hour(26)}/macAddress=0022482CBF11/PT1H.json": b"before the window"}
    step = Step(ground, "azure.capture-flow-logs", evidence_sources=(flow_log(ground, {**bodies, **old}),))
    change = step.apply()
    copies = [each for each in change.exhibits if each.evidence_id.endswith(".bin")]
    assert {each.stored.sha256 for each in copies} == {sha256(body).hexdigest() for body in bodies.values()}
    rows = step.records(change)
    assert {row["source"].rpartition("WATCHER_FLOWS/")[2] for row in rows} == set(bodies)
    assert holds(step.verify(change))


def test_flow_logs_that_are_not_delivered_yet_are_waited_for(ground: Ground) -> None:
    declared = flow_log(ground, {})
    account = declared["storage_account"].rsplit("/", 1)[-1]
    service = BlobServiceClient(f"https://{account}.blob.core.windows.net", Bearer(ground.sandbox))
    service.delete_container("insights-logs-flowlogflowevent")
    step = Step(ground, "azure.capture-flow-logs", evidence_sources=(declared,))
    with pytest.raises(TransientCloudError, match="no flow log has been delivered yet"):
        step.apply()
    service.create_container("insights-logs-flowlogflowevent")
    assert holds(step.verify(step.apply()))


def test_a_flow_log_that_is_off_is_refused_before_the_first_change(ground: Ground) -> None:
    declared = flow_log(ground, {}, enabled=False)
    with pytest.raises(PermanentCloudError, match="switched off"):
        Step(ground, "azure.capture-flow-logs", evidence_sources=(declared,))


def cosmos(ground: Ground, items: int, size: int = 10) -> dict[str, Any]:
    container = ground.places.cosmos()
    writer = ground.places.identity().object_id
    ground.places.cosmos_role(container, writer, CONTRIBUTOR)
    client = CosmosClient(
        f"https://{container.split('/')[8]}.documents.azure.com:443/", Bearer(ground.sandbox, writer)
    )
    memory = client.get_database_client("agent").get_container_client("memory")
    for number in range(items):
        memory.upsert_item({"id": f"{number:04d}", "session": f"s{number % 9}", "text": "x" * size})
    return {"kind": "cosmos-container", "ref": container}


def test_every_item_of_a_cosmos_container_is_read(ground: Ground) -> None:
    step = Step(ground, "azure.capture-memory-store", stores=(cosmos(ground, 60),))
    change = step.apply()
    ids = sorted(each["id"] for each in step.records(change))
    assert ids == [f"{number:04d}" for number in range(60)]
    assert {"_etag", "_ts", "text"} <= set(step.records(change)[0])
    assert holds(step.verify(change))


@pytest.mark.parametrize("crash_at", [1, 2, 3, 5])
def test_a_killed_memory_capture_resumes(
    ground: Ground, crash_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.azure.forensics.memory._PAGE_ITEMS", 7)
    monkeypatch.setattr(capture, "PART_BYTES", 4_000)
    step = Step(ground, "azure.capture-memory-store", stores=(cosmos(ground, 40, 200),))
    killed_at(step, crash_at)
    ids = [each["id"] for each in step.records(step.apply())]
    assert sorted(ids) == [f"{number:04d}" for number in range(40)]


def test_memory_needs_the_accounts_own_role(ground: Ground) -> None:
    declared = cosmos(ground, 1)
    workload = ground.workload(stores=(declared,))
    name = "azure.capture-memory-store"
    bound = ground.world.least(workload, name)
    needs = [(measure(name), target) for target in measure(name).applies_to(workload)]
    access = AzureAccess(ground.world.run(bound), ground.world.settings)
    lacking = [each for each in missing(access, needs) if each.startswith("cosmos:")]
    assert len(lacking) == 2
    assert all(each.endswith("/dbs/agent/colls/memory") for each in lacking)
    with pytest.raises(PermanentCloudError, match="does not have required RBAC permissions"):
        list(step_of(name, ground.context(bound)).pages(needs[0][1], {}))


@pytest.mark.parametrize("crash_at", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_blobs_are_copied_and_resumed(ground: Ground, crash_at: int) -> None:
    bodies = {f"memory/{n:03d} ü?.json": f"memory {n}".encode() for n in range(120)}
    bodies["memory/large"] = bytes(3 * MIB)
    container = ground.container({**bodies, "other/secret": b"not ours"})
    declared = {"kind": "blob-container", "ref": container, "role": "memory", "prefix": "memory/"}
    step = Step(ground, "azure.capture-memory-store", stores=(declared,))
    killed_at(step, crash_at)
    change = step.apply()
    index = {each["source"].partition("/memory/")[2]: each["sha256"] for each in step.records(change)}
    assert index == {key: sha256(body).hexdigest() for key, body in bodies.items()}
    copies = [each for each in change.exhibits if each.evidence_id.endswith(".bin")]
    assert len(copies) == len({each.evidence_id for each in copies}) == change.after["records"] == 121
    assert holds(step.verify(change))


def test_memory_declared_as_artifact_and_as_store_is_copied_once(ground: Ground) -> None:
    container = ground.container({"m.json": b"m"})
    declared = {"kind": "blob-container", "ref": container, "role": "memory"}
    step = Step(ground, "azure.capture-memory-store", stores=(declared,), artifacts=(declared,))
    assert step.apply().after["records"] == 1
