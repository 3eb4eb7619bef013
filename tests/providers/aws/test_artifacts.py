from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest
from botocore.exceptions import ClientError

from firebreak.errors import PermanentCloudError
from firebreak.measure import measure
from firebreak.model import Method, Target
from providers.aws.resources import (
    DynamoDbTable,
    EcrRepository,
    S3Object,
    S3Prefix,
)
from tests.providers.aws.conftest import REGION, WORKLOAD
from tests.providers.aws.freezing import (
    Step,
    denied,
    make_bucket,
    make_table,
    objects_step,
    push,
    seed_objects,
    table_step,
)
from tests.providers.driving import holds

FREEZES = ("aws.lock-objects", "aws.freeze-memory-table", "aws.freeze-image-repository")


@pytest.mark.parametrize(("lock", "versioned"), [(True, False), (False, True), (False, False)])
def test_objects_are_frozen_proved_and_released(world: Any, fresh: Any, lock: bool, versioned: bool) -> None:
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=lock, versioned=versioned)
    bodies = seed_objects(s3, bucket)
    step = objects_step(world, bucket, approved=sha256(b"weights").hexdigest())
    before = step.snapshot()
    change = step.apply()
    assert change.changed
    findings = step.verify(change)
    assert holds(findings), findings
    assert sum(finding.method is Method.LIVE_PROBE for finding in findings) == 3
    for key in bodies:  # an administrator, who may do everything, may not
        assert denied(s3.put_object, Bucket=bucket, Key=key, Body=b"poison")
        assert denied(s3.delete_object, Bucket=bucket, Key=key)
    assert denied(s3.put_object, Bucket=bucket, Key="memory/new", Body=b"poison")
    assert denied(s3.delete_bucket_policy, Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="elsewhere", Body=b"still writable")
    recorded = {each["key"]: each["sha256"] for each in change.after["objects"]}
    assert recorded == {key: sha256(body).hexdigest() for key, body in bodies.items()}
    assert [(a["role"], a["matches"]) for a in change.after["artifacts"]] == [
        ("model", True),
        ("prompt", None),
    ]
    again = step.apply()
    assert not again.changed
    assert again.after["objects"] == change.after["objects"]
    step.assert_goes_back(change, before)
    versions = s3.list_object_versions(Bucket=bucket, Prefix=".firebreak/")
    assert not versions.get("Versions")
    assert not versions.get("DeleteMarkers")
    s3.put_object(Bucket=bucket, Key="models/a.bin", Body=b"new weights")


def test_every_call_may_fail_once(world: Any, fresh: Any) -> None:
    bucket, table = fresh("artifacts"), fresh("memory")
    seed_objects(make_bucket(world, bucket, lock=True), bucket)
    make_table(world, table)
    steps = {"throttle": objects_step(world, bucket), "error500": table_step(world, table)}
    for fault, step in steps.items():
        before = step.snapshot()
        world.sandbox.inject(fault, times=-1, once_per_operation=True)
        try:
            change = step.apply()
            world.sandbox.clear_faults()
            world.sandbox.inject(fault, times=-1, once_per_operation=True)
            assert holds(step.verify(change))
            assert step.revert(change).holds
        finally:
            world.sandbox.clear_faults()
        assert step.snapshot() == before


def test_a_worker_killed_between_freeze_and_hash_goes_on(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    seed_objects(make_bucket(world, bucket, lock=True), bucket)
    step = objects_step(world, bucket)
    before = step.snapshot()
    world.sandbox.inject("denied", service="s3", operation="PutObjectLegalHold", times=1)
    with pytest.raises(PermanentCloudError, match="PutObjectLegalHold"):
        step.apply()
    world.sandbox.clear_faults()
    change = step.apply()
    assert holds(step.verify(change))
    assert step.revert(change).holds
    assert step.snapshot() == before


def test_a_bucket_with_default_retention_is_proved_too(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    s3.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    seed_objects(s3, bucket)
    step = objects_step(world, bucket)
    before = step.snapshot()
    change = step.apply()
    assert holds(step.verify(change))
    released = step.revert(change)
    assert released.holds
    assert released.detail["canary_left_under_default_retention"] is True
    assert step.snapshot() == before
    assert holds(step.verify(step.apply()))


def test_workloads_that_share_a_bucket_do_not_undo_each_other(world: Any, fresh: Any) -> None:
    bucket = fresh("shared")
    s3 = make_bucket(world, bucket, lock=True)
    keys = [f"agent-{number}/prompt" for number in range(6)]
    steps: list[Step] = []
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"be good")
        prompt = S3Object(kind="s3-object", ref=f"arn:aws:s3:::{bucket}/{key}", role="prompt")
        access = steps[0].access if steps else None  # an account has one responder
        owner = fresh("agent")
        steps.append(Step(world, "aws.lock-objects", access=access, owner=owner, artifacts=(prompt,)))
    states = [step.snapshot() for step in steps]
    with ThreadPoolExecutor(6) as pool:
        changes = list(pool.map(Step.apply, steps))
    for step, change in zip(steps, changes, strict=True):
        findings = step.verify(change)
        assert holds(findings), findings
    with ThreadPoolExecutor(6) as pool:
        released = list(pool.map(Step.revert, steps, changes))
    assert all(finding.holds for finding in released)
    assert [step.snapshot() for step in steps] == states


def test_a_second_workload_in_a_frozen_resource_joins_the_freeze(world: Any, fresh: Any) -> None:
    bucket, table, name = fresh("shared"), fresh("memory"), fresh("agent")
    s3 = make_bucket(world, bucket, lock=True)
    s3.put_object(Bucket=bucket, Key="prompt", Body=b"be good")
    make_table(world, table)
    ecr = world.admin("ecr")
    ecr.create_repository(repositoryName=name)
    push(ecr, name, "prod", "approved")
    arn = f"arn:aws:dynamodb:{REGION}:{WORKLOAD}:table/{table}"
    groups: dict[str, Any] = {
        "artifacts": (
            EcrRepository(
                kind="ecr-repository", ref=f"arn:aws:ecr:{REGION}:{WORKLOAD}:repository/{name}", tag="prod"
            ),
        ),
        "stores": (
            S3Prefix(kind="s3-prefix", ref=f"arn:aws:s3:::{bucket}/"),
            DynamoDbTable(kind="dynamodb-table", ref=arn),
        ),
    }
    access = world.exactly(world.workload(**groups), *FREEZES).access
    for freeze in FREEZES:
        first, second = (Step(world, freeze, access=access, owner=fresh("agent"), **groups) for _ in "12")
        before = first.snapshot()
        one = first.apply()
        two = second.apply()
        assert holds(first.verify(one)), freeze
        assert holds(second.verify(two)), freeze
        assert first.revert(one).holds
        probes = [each for each in second.verify(two) if each.method is Method.LIVE_PROBE]
        assert holds(tuple(probes)), freeze  # the first release leaves the second freeze in force
        assert (second.measure.intact(second.target, two) or probes[0]).holds
        assert second.revert(two).holds
        assert first.snapshot()["policy"] == before["policy"], freeze


def test_versions_are_held(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=True)
    seed_objects(s3, bucket)
    version = s3.head_object(Bucket=bucket, Key="prompts/p.txt")["VersionId"]
    s3.put_object_legal_hold(
        Bucket=bucket, Key="prompts/p.txt", VersionId=version, LegalHold={"Status": "ON"}
    )
    step = objects_step(world, bucket)
    change = step.apply()
    model = s3.head_object(Bucket=bucket, Key="models/a.bin")
    assert model["ObjectLockLegalHoldStatus"] == "ON"
    assert step.revert(change).holds
    assert s3.head_object(Bucket=bucket, Key="models/a.bin")["ObjectLockLegalHoldStatus"] == "OFF"
    assert s3.head_object(Bucket=bucket, Key="prompts/p.txt")["ObjectLockLegalHoldStatus"] == "ON"


def test_the_owners_policy_survives(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=True)
    seed_objects(s3, bucket)
    own = {
        "Sid": "own",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:DeleteObject",
        "Resource": f"arn:aws:s3:::{bucket}/elsewhere",
    }
    text = json.dumps({"Version": "2012-10-17", "Statement": own})
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    step = objects_step(world, bucket)
    change = step.apply()
    assert holds(step.verify(change))
    assert denied(s3.delete_object, Bucket=bucket, Key="elsewhere")
    assert step.revert(change).holds
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == json.loads(text)


def lift(step: Step, bucket: str) -> None:
    """Take the freeze away behind the measure's back, as only the responder can."""
    step.measure.access.client("s3").delete_bucket_policy(Bucket=bucket)


@pytest.mark.parametrize("lock", [True, False])
def test_a_missing_freeze_is_seen_at_the_canary(world: Any, fresh: Any, lock: bool) -> None:
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=lock)
    seed_objects(s3, bucket)
    step = objects_step(world, bucket)
    change = step.apply()
    assert holds(step.verify(change))
    lift(step, bucket)
    findings = step.verify(change)
    assert not findings[0].holds
    assert "not refused" in findings[0].observed
    assert not findings[3].holds
    step.apply()
    assert holds(step.verify(change)) is lock or holds(step.verify(step.apply()))


def test_an_artifact_changed_before_the_freeze_held_is_seen(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=True)
    seed_objects(s3, bucket)
    step = objects_step(world, bucket)
    change = step.apply()
    lift(step, bucket)
    s3.put_object(Bucket=bucket, Key="models/a.bin", Body=b"poison")
    unchanged = step.verify(change)[-1]
    assert not unchanged.holds
    assert not step.measure.intact(step.target, change).holds
    assert unchanged.detail["differences"] == ["models/a.bin: the current version is another one"]


def test_deployed_is_compared_with_approved(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    seed_objects(make_bucket(world, bucket, lock=True), bucket)
    step = objects_step(world, bucket, approved="0" * 64)
    change = step.apply()
    assert change.after["artifacts"][0]["matches"] is False
    assert holds(step.verify(change))  # what is deployed is frozen, whatever it is


def test_a_missing_object_is_refused_before_the_first_change(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    make_bucket(world, bucket, lock=True)
    with pytest.raises(PermanentCloudError, match="does not exist"):
        objects_step(world, bucket).snapshot()


def test_a_large_folder_is_frozen_by_the_policy(
    world: Any, fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.aws.artifacts.bucketobjects.HOLD_LIMIT", 3)
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=True)
    seed_objects(s3, bucket)
    step = objects_step(world, bucket)
    change = step.apply()
    assert change.after["folders_by_policy_only"] == ["memory/"]
    assert holds(step.verify(change))
    assert denied(s3.put_object, Bucket=bucket, Key="memory/1", Body=b"poison")


def test_a_second_incident_finds_the_freeze(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    seed_objects(make_bucket(world, bucket, lock=True), bucket)
    first = objects_step(world, bucket)
    first.apply()
    second = objects_step(world, bucket, access=first.access)
    change = second.apply()
    assert not change.changed
    assert holds(second.verify(change))


@pytest.mark.parametrize("kinds", ["S", "N", "B", "SN"])
def test_tables_are_frozen_proved_and_released(world: Any, fresh: Any, kinds: str) -> None:
    name = fresh("memory")
    dynamodb = make_table(world, name, kinds)
    step = table_step(world, name)
    before = step.snapshot()
    change = step.apply()
    assert change.changed
    findings = step.verify(change)
    assert holds(findings), findings
    assert denied(dynamodb.put_item, TableName=name, Item={"session": {"S": "x"}, "turn": {"N": "1"}})
    with pytest.raises(ClientError):
        dynamodb.delete_table(TableName=name)
    assert not step.apply().changed
    step.assert_goes_back(change, before)
    assert dynamodb.scan(TableName=name)["Items"] == []


def test_protection_that_was_on_stays_on(world: Any, fresh: Any) -> None:
    name = fresh("memory")
    dynamodb = make_table(world, name, DeletionProtectionEnabled=True)
    dynamodb.update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    step = table_step(world, name)
    before = step.snapshot()
    assert before["deletion_protection"]
    assert before["recovery"]
    change = step.apply()
    assert step.revert(change).holds
    assert step.snapshot() == before


def test_a_missing_table_freeze_is_seen(world: Any, fresh: Any) -> None:
    name = fresh("memory")
    make_table(world, name)
    step = table_step(world, name)
    change = step.apply()
    arn = step.target.ref
    step.measure.access.client("dynamodb").delete_resource_policy(ResourceArn=arn)
    findings = step.verify(change)
    assert [finding.holds for finding in findings] == [False, False, False, True]  # nothing expires


def test_every_artifact_measure_declares_exact_permissions() -> None:
    names = ["lock-objects", "freeze-image-repository", "reject-model-package", "freeze-memory-table"]
    for name in [*names, "stop-pipeline-promotion"]:
        kind = measure(f"aws.{name}")
        assert kind.permissions
        assert all(":" in each.action and "*" not in each.action for each in kind.permissions)
        assert kind.__doc__


def test_arns_name_the_bucket_and_its_objects() -> None:
    target = Target(kind="s3-bucket", ref="arn:aws:s3:::b", account=WORKLOAD, region=REGION)
    assert measure("aws.lock-objects").arns(target) == ("arn:aws:s3:::b", "arn:aws:s3:::b/*")
