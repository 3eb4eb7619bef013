from __future__ import annotations

import json
import resource
import time
import tracemalloc
from hashlib import sha256
from typing import Any

import pytest

from firebreak import capture
from firebreak.capture import PART_BYTES
from firebreak.errors import Irreversible, PermanentCloudError
from firebreak.measure import now
from firebreak.model import Method
from providers.aws.resources import (
    Detective,
    DynamoDbTable,
    FlowLog,
    IamUser,
    LogGroup,
    S3Object,
    S3Prefix,
    SecurityHubFinding,
)
from tests.providers.aws.conftest import REGION
from tests.providers.aws.conftest import WORKLOAD as ACCOUNT
from tests.providers.capturing import Step, WorkerKilledError
from tests.providers.driving import holds

MIB = 1024 * 1024


def log_group(world: Any, name: str, events: int = 0, message: str = "event {}") -> LogGroup:
    logs = world.admin("logs")
    logs.create_log_group(logGroupName=name)
    first = int(time.time() * 1000) - 60_000
    for stream in ("one", "two"):
        logs.create_log_stream(logGroupName=name, logStreamName=stream)
        batch = [{"timestamp": first + n, "message": message.format(f"{stream}-{n}")} for n in range(events)]
        if batch:
            logs.put_log_events(logGroupName=name, logStreamName=stream, logEvents=batch)
    return LogGroup(kind="log-group", ref=f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}")


def synthetic(mib: int) -> LogGroup:
    return LogGroup(
        kind="log-group", ref=f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/firebreak/synthetic/{mib}MiB"
    )


def workload_logs(world: Any, group: LogGroup) -> Step:
    return Step(world, "aws.capture-workload-logs", evidence_sources=(group,))


def test_logs_are_captured_raw_and_proved(world: Any, fresh: Any) -> None:
    step = workload_logs(world, log_group(world, f"/{fresh('agent')}/inference", events=20))
    change = step.apply()
    records = step.records(change)
    assert change.after["records"] == len(records) == 40
    assert {each["message"] for each in records} == {
        f"event {stream}-{n}" for stream in ("one", "two") for n in range(20)
    }
    assert {"timestamp", "ingestionTime", "eventId", "logStreamName"} <= set(records[0])
    (exhibit,) = change.exhibits
    assert exhibit.stored.uri.endswith(exhibit.evidence_id)
    assert exhibit.evidence_id.startswith("phases/4/")
    findings = step.verify(change)
    assert holds(findings)
    assert {finding.method for finding in findings} == {Method.CONFIGURATION, Method.LIVE_PROBE}


def test_an_empty_source_is_an_exhibit_too(world: Any, fresh: Any) -> None:
    step = workload_logs(world, log_group(world, f"/{fresh('silent')}"))
    change = step.apply()
    assert change.after["records"] == 0
    assert change.exhibits[0].stored.size == 0
    assert holds(step.verify(change))


def test_evidence_is_never_given_back(world: Any, fresh: Any) -> None:
    step = workload_logs(world, log_group(world, f"/{fresh('agent')}"))
    with pytest.raises(Irreversible, match="evidence is kept"):
        step.attempt().revert(step.apply())


def test_an_altered_or_missing_exhibit_is_seen(world: Any, fresh: Any) -> None:
    step = workload_logs(world, log_group(world, f"/{fresh('agent')}", events=3))
    change = step.apply()
    exhibit = change.exhibits[0]
    forged = exhibit.model_copy(update={"stored": exhibit.stored.model_copy(update={"sha256": "0" * 64})})
    gone = exhibit.model_copy(
        update={"stored": exhibit.stored.model_copy(update={"version_id": "no-such-version"})}
    )
    for wrong in ((forged,), (gone,), ()):
        findings = step.attempt()._reread(change.model_copy(update={"exhibits": wrong}))
        assert not findings.holds
    fewer = change.model_copy(update={"after": {**change.after, "records": 7}})
    assert not holds(step.verify(fewer))


@pytest.mark.parametrize("crash_at", [1, 2, 9, 10, 11, 25, 33])
def test_a_killed_capture_resumes_without_loss_or_repetition(world: Any, crash_at: int) -> None:
    """32 MiB in pages of 1 MiB: parts of at most PART_BYTES, and a crash after any page."""
    step = workload_logs(world, synthetic(32))
    reports = 0

    def kill(_: dict[str, Any]) -> None:
        nonlocal reports
        reports += 1
        if reports == crash_at:
            raise WorkerKilledError

    with pytest.raises(WorkerKilledError):
        step.attempt(kill).apply(step.target, step.state)
    change = step.apply()
    ids = [each["eventId"] for each in step.records(change)]
    assert len(ids) == len(set(ids)) == change.after["records"] == 32 * 64
    assert ids == sorted(ids)
    assert all(each.stored.size <= PART_BYTES for each in change.exhibits)
    again = step.apply()  # killed after the end, before the answer was recorded
    assert again.exhibits == change.exhibits


def test_many_parts_are_listed_and_heartbeats_stay_small(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "PART_BYTES", MIB // 4)
    monkeypatch.setattr(capture, "_LISTED", 5)
    step = workload_logs(world, synthetic(24))
    sizes: list[int] = []
    change = step.attempt(lambda progress: sizes.append(len(json.dumps(progress)))).apply(
        step.target, step.state
    )
    assert len(change.exhibits) == 24
    assert [each.evidence_id[-10:-6] for each in change.exhibits] == [f"{n:04d}" for n in range(1, 25)]
    assert max(sizes) < 8_000
    assert step.apply().exhibits == change.exhibits
    finding = step.verify(change)[1]
    assert finding.holds
    assert finding.observed == "deletion refused for 20 of 24 exhibits tried"


def test_capture_memory_stays_flat(world: Any) -> None:
    step = workload_logs(world, synthetic(16))
    step.apply()
    large = workload_logs(world, synthetic(64))
    tracemalloc.start()
    change = large.apply()
    findings = large.verify(change)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert holds(findings)
    assert sum(each.stored.size for each in change.exhibits) > 64 * MIB
    assert peak < 48 * MIB


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_gigabyte_of_log_is_captured_in_flat_memory(world: Any) -> None:
    step = workload_logs(world, synthetic(1024))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    change = step.apply()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert sum(each.stored.size for each in change.exhibits) > 1024 * MIB
    assert grown < 100 * 1024  # KiB
    assert holds(step.verify(change))


def test_flow_logs_come_from_a_log_group(world: Any, fresh: Any) -> None:
    group = log_group(world, f"/{fresh('vpc')}/flow", events=5, message="2 222222222222 eni-1 {} REJECT OK")
    step = Step(world, "aws.capture-flow-logs", network=(FlowLog(kind="flow-log", ref=group.ref),))
    change = step.apply()
    assert len(step.records(change)) == 10
    assert holds(step.verify(change))


@pytest.mark.parametrize("prefix", ["", "logs/"])
@pytest.mark.parametrize(
    ("layout", "day"),
    [
        (f"AWSLogs/{ACCOUNT}/vpcflowlogs/{REGION}", "%Y/%m/%d"),
        (
            f"AWSLogs/aws-account-id={ACCOUNT}/aws-service=vpcflowlogs/aws-region={REGION}",
            "year=%Y/month=%m/day=%d/hour=%H",
        ),
    ],
    ids=["plain", "hive-compatible"],
)
def test_flow_logs_come_from_a_bucket(world: Any, fresh: Any, layout: str, day: str, prefix: str) -> None:
    """VPC user guide, "Flow log files": two layouts, by day or by hour."""
    bucket, s3 = fresh("flow"), world.admin("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    folder, today = f"{prefix}{layout}", now().strftime(day)
    bodies = {f"{folder}/{today}/{n}.log.gz": f"file {n}".encode() for n in range(3)}
    for key, body in bodies.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    s3.put_object(Bucket=bucket, Key=f"{folder}/2020/01/01/old.log.gz", Body=b"long ago")
    ref = f"arn:aws:s3:::{bucket}/{prefix}".rstrip("/")
    step = Step(world, "aws.capture-flow-logs", network=(FlowLog(kind="flow-log", ref=ref),))
    change = step.apply()
    copies = [each for each in change.exhibits if each.evidence_id.endswith(".bin")]
    assert {each.stored.sha256 for each in copies} == {sha256(body).hexdigest() for body in bodies.values()}
    assert holds(step.verify(change))
    assert step.kind.arns(step.target) == (f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*")


def test_a_flow_log_without_a_record_proves_nothing(world: Any, fresh: Any) -> None:
    """The folder of another account, for example."""
    bucket, s3 = fresh("flow"), world.admin("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    elsewhere = f"AWSLogs/999999999999/vpcflowlogs/{REGION}/{now():%Y/%m/%d}/0.log.gz"
    s3.put_object(Bucket=bucket, Key=elsewhere, Body=b"not ours")
    silent = log_group(world, f"/{fresh('vpc')}/flow")
    for ref in (f"arn:aws:s3:::{bucket}", silent.ref):
        step = Step(world, "aws.capture-flow-logs", network=(FlowLog(kind="flow-log", ref=ref),))
        *copies, there = step.verify(step.apply())
        assert holds(tuple(copies))
        assert (there.holds, there.inconclusive) == (False, True)


@pytest.mark.parametrize("kind", ["S", "B"])
def test_tables_are_scanned_to_the_end(world: Any, fresh: Any, kind: str) -> None:
    name, dynamodb = fresh("memory"), world.admin("dynamodb")
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": kind}],
        BillingMode="PAY_PER_REQUEST",
    )
    for number in range(30):
        key = f"{number:03d}" if kind == "S" else f"{number:03d}".encode()
        item = {"id": {kind: key}, "blob": {"B": b"\x00\xff"}, "text": {"S": "x" * 100_000}}
        dynamodb.put_item(TableName=name, Item=item)
    arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
    store = DynamoDbTable(kind="dynamodb-table", ref=arn)
    step = Step(world, "aws.capture-memory-store", stores=(store,))
    change = step.apply()
    records = step.records(change)
    assert len({json.dumps(each["id"]) for each in records}) == len(records) == 30
    assert records[0]["blob"] == {"B": "AP8="}
    assert holds(step.verify(change))


@pytest.mark.parametrize("crash_at", [1, 2, 3])
def test_folders_are_copied_and_resumed(world: Any, fresh: Any, crash_at: int) -> None:
    bucket, s3 = fresh("memory"), world.admin("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    bodies = {f"memory/{n:03d} ü?.json": f"memory {n}".encode() for n in range(120)}
    bodies["memory/large"] = bytes(3 * MIB)
    for key, body in bodies.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    s3.put_object(Bucket=bucket, Key="other/secret", Body=b"not ours")
    store = S3Prefix(kind="s3-prefix", ref=f"arn:aws:s3:::{bucket}/memory/")
    step = Step(world, "aws.capture-memory-store", stores=(store,))
    reports = 0

    def kill(_: dict[str, Any]) -> None:
        nonlocal reports
        reports += 1
        if reports == crash_at:
            raise WorkerKilledError

    with pytest.raises(WorkerKilledError):
        step.attempt(kill).apply(step.target, step.state)
    change = step.apply()
    index = {each["source"]: each["sha256"] for each in step.records(change)}
    assert index == {f"s3://{bucket}/{key}": sha256(body).hexdigest() for key, body in bodies.items()}
    copies = [each for each in change.exhibits if each.evidence_id.endswith(".bin")]
    assert len(copies) == len({each.evidence_id for each in copies}) == 121
    assert change.after["records"] == 121
    assert holds(step.verify(change))


def test_memory_in_one_object_is_copied_alone(world: Any, fresh: Any) -> None:
    bucket, s3 = fresh("memory"), world.admin("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    for key in ("m.jsonl", "m.jsonl.bak"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    memory = S3Object(kind="s3-object", ref=f"arn:aws:s3:::{bucket}/m.jsonl", role="memory")
    prompt = S3Object(kind="s3-object", ref=f"arn:aws:s3:::{bucket}/p.txt", role="prompt")
    step = Step(world, "aws.capture-memory-store", artifacts=(memory, prompt))
    change = step.apply()
    assert [each["source"] for each in step.records(change)] == [f"s3://{bucket}/m.jsonl"]


def test_an_investigation_is_skipped_with_a_reason(world: Any) -> None:
    world.sandbox.request("POST", "/detective", {"account": ACCOUNT, "enabled": False})
    declared = Detective(kind="detective", ref="account")
    step = Step(world, "aws.open-investigation", evidence_sources=(declared,))
    change = step.apply()
    assert not change.changed
    (finding,) = step.verify(change)
    assert finding.observed.startswith("skipped: the account administers no Detective graph")
    assert finding.detail["skipped"] is True


def test_an_investigation_is_opened_once(world: Any, fresh: Any) -> None:
    world.sandbox.request("POST", "/detective", {"account": ACCOUNT})
    arn = world.admin("iam").create_user(UserName=fresh("suspect"))["User"]["Arn"]
    step = Step(
        world,
        "aws.open-investigation",
        identities=(IamUser(kind="iam-user", ref=arn),),
        evidence_sources=(Detective(kind="detective", ref="account"),),
    )
    change = step.apply()
    assert change.changed
    assert list(change.after["investigations"]) == [arn]
    assert holds(step.verify(change))
    again = step.apply()
    assert not again.changed
    assert again.after["investigations"] == change.after["investigations"]


def test_an_investigation_far_down_the_list_is_found_again(world: Any, fresh: Any) -> None:
    """Others were opened before it, more than fit into one answer."""
    graph = world.sandbox.request("POST", "/detective", {"account": ACCOUNT})["graph_arn"]
    detective = world.admin("detective")
    for number in range(100):
        detective.start_investigation(
            GraphArn=graph,
            EntityArn=f"arn:aws:iam::{ACCOUNT}:user/other-{number}",
            ScopeStartTime=now(),
            ScopeEndTime=now(),
        )
    step = Step(
        world,
        "aws.open-investigation",
        identities=(IamUser(kind="iam-user", ref=f"arn:aws:iam::{ACCOUNT}:user/{fresh('suspect')}"),),
        evidence_sources=(Detective(kind="detective", ref="account"),),
    )
    change = step.apply()
    again = step.apply()
    assert (change.changed, again.changed) == (True, False)
    assert again.after["investigations"] == change.after["investigations"]


def finding_in_hub(world: Any, name: str) -> SecurityHubFinding:
    hub = world.admin("securityhub")
    product = f"arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default"
    stamp = f"{now():%Y-%m-%dT%H:%M:%SZ}"
    hub.enable_security_hub()
    hub.batch_import_findings(
        Findings=[
            {
                "SchemaVersion": "2018-10-08",
                "Id": name,
                "ProductArn": product,
                "GeneratorId": "g",
                "AwsAccountId": ACCOUNT,
                "Types": ["Unusual Behaviors/Application"],
                "CreatedAt": stamp,
                "UpdatedAt": stamp,
                "Severity": {"Label": "HIGH"},
                "Title": "t",
                "Description": "d",
                "Resources": [{"Type": "AwsIamRole", "Id": "r"}],
            }
        ]
    )
    return SecurityHubFinding(kind="security-hub-finding", ref=name, product_arn=product)


def test_the_finding_says_that_it_is_handled(world: Any, fresh: Any) -> None:
    declared = finding_in_hub(world, fresh("finding"))
    step = Step(world, "aws.update-security-finding", evidence_sources=(declared,))
    assert step.state.values["status"] == "NEW"
    change = step.apply()
    assert change.changed
    assert holds(step.verify(change))
    assert not step.apply().changed
    with pytest.raises(Irreversible):
        step.attempt().revert(change)


def test_an_unknown_finding_is_refused_before_the_first_change(world: Any, fresh: Any) -> None:
    declared = finding_in_hub(world, fresh("finding")).model_copy(update={"ref": "no/such"})
    with pytest.raises(PermanentCloudError, match="no such finding"):
        Step(world, "aws.update-security-finding", evidence_sources=(declared,))
