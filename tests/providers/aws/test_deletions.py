"""What AWS itself deletes by a timetable stops with the freeze, and goes on after release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from firebreak.errors import PermanentCloudError, TransientCloudError
from providers.aws.resources import S3Object
from tests.providers.aws.freezing import (
    Step,
    make_bucket,
    make_table,
    objects_step,
    seed_objects,
    table_step,
)
from tests.providers.aws.hooks import refusing
from tests.providers.driving import holds

MEMORY = {
    "ID": "forget",
    "Filter": {"Prefix": "memory/"},
    "Status": "Enabled",
    "Expiration": {"Days": 30},
    "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
}
EVERYTHING = {
    "ID": "all",
    "Filter": {"Prefix": ""},
    "Status": "Enabled",
    "Expiration": {"Date": "2030-01-01T00:00:00Z"},
}
ELSEWHERE = {"ID": "logs", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 1}}
OFF = {"ID": "off", "Filter": {"Prefix": "models/"}, "Status": "Disabled", "Expiration": {"Days": 1}}
COLDER = {
    "ID": "colder",
    "Filter": {"Prefix": "models/"},
    "Status": "Enabled",
    "Transitions": [{"Days": 90, "StorageClass": "GLACIER_IR"}],
}


def with_rules(s3: Any, bucket: str, *rules: dict[str, Any]) -> None:
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def rules_of(s3: Any, bucket: str) -> list[dict[str, Any]]:
    return list(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"])


def statuses(s3: Any, bucket: str) -> dict[str, str]:
    return {each["ID"].rpartition(":")[2]: each["Status"] for each in rules_of(s3, bucket)}


@pytest.mark.parametrize("lock", [True, False])
def test_rules_that_would_delete_are_suspended_and_every_other_is_kept(
    world: Any, fresh: Any, lock: bool
) -> None:
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=lock)
    seed_objects(s3, bucket)
    with_rules(s3, bucket, MEMORY, EVERYTHING, ELSEWHERE, OFF, COLDER)
    owners = rules_of(s3, bucket)
    step = objects_step(world, bucket)
    before = step.snapshot()
    change = step.apply()
    off, on = "Disabled", "Enabled"
    assert statuses(s3, bucket) == {"forget": off, "all": off, "logs": on, "off": off, "colder": on}
    findings = step.verify(change)
    assert holds(findings), findings
    assert not step.apply().changed
    step.assert_goes_back(change, before)
    assert rules_of(s3, bucket) == owners


def test_a_rule_that_deletes_is_seen_and_suspended_again(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=True)
    seed_objects(s3, bucket)
    step = objects_step(world, bucket)
    change = step.apply()
    assert holds(step.verify(change))
    with_rules(step.measure.access.client("s3"), bucket, MEMORY)  # only the responder can
    seen = [each for each in step.verify(change) if not each.holds]
    assert [each.observed for each in seen] == ["lifecycle rules still delete: forget"]
    assert step.apply().changed
    assert holds(step.verify(change))
    assert step.revert(change).holds
    assert statuses(s3, bucket) == {"forget": "Enabled"}


def test_a_rule_that_two_workloads_suspended_goes_on_with_the_last_release(world: Any, fresh: Any) -> None:
    bucket = fresh("shared")
    s3 = make_bucket(world, bucket, lock=True)
    with_rules(s3, bucket, EVERYTHING)
    owners = rules_of(s3, bucket)
    steps: list[Step] = []
    for key in ("one/prompt", "two/prompt"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"be good")
        prompt = S3Object(kind="s3-object", ref=f"arn:aws:s3:::{bucket}/{key}", role="prompt")
        access = steps[0].access if steps else None
        steps.append(
            Step(world, "aws.lock-objects", access=access, owner=fresh("agent"), artifacts=(prompt,))
        )
    first, second = ((step, step.apply()) for step in steps)
    assert second[1].before["lifecycle"] == first[1].before["lifecycle"]
    assert first[0].revert(first[1]).holds
    assert statuses(s3, bucket) == {"all": "Disabled"}
    assert holds(second[0].verify(second[1]))
    assert second[0].revert(second[1]).holds
    assert rules_of(s3, bucket) == owners


def test_a_rule_whose_id_leaves_no_room_is_refused_before_the_first_change(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=True)
    seed_objects(s3, bucket)
    with_rules(s3, bucket, {**MEMORY, "ID": "x" * 250})
    with pytest.raises(PermanentCloudError, match="shorter ID"):
        objects_step(world, bucket).snapshot()


def test_rules_that_cannot_be_read_while_s3_is_busy_are_read_again(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    seed_objects(make_bucket(world, bucket, lock=True), bucket)
    step = objects_step(world, bucket)
    change = step.apply()
    s3 = step.measure.access.client("s3")
    busy = refusing(s3, "GetBucketLifecycleConfiguration", "SlowDown", 503)
    with busy, pytest.raises(TransientCloudError, match="SlowDown"):
        step.verify(change)
    assert holds(step.verify(change))


@pytest.fixture
def hourly(world: Any) -> Iterator[Callable[[float], None]]:
    """How long DynamoDB takes over a change of time to live; an hour unless a test says otherwise."""

    def takes(seconds: float) -> None:
        world.sandbox.configure(ttl_change_seconds=seconds)

    yield takes
    takes(3600.0)


@pytest.fixture
def expiring(world: Any, fresh: Any, hourly: Callable[[float], None]) -> tuple[str, Any]:
    """A table whose time to live can be changed at once: its name, and its owner's client."""
    hourly(0)
    name = fresh("memory")
    dynamodb = make_table(world, name)
    dynamodb.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
    )
    return name, dynamodb


def ttl_of(dynamodb: Any, name: str) -> str:
    return str(dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"])


def test_time_to_live_stops_with_the_freeze_and_goes_on_after_release(
    world: Any, expiring: tuple[str, Any]
) -> None:
    name, dynamodb = expiring
    step = table_step(world, name)
    before = step.snapshot()
    assert before["ttl"] == "expires_at"
    change = step.apply()
    assert ttl_of(dynamodb, name) == "DISABLED"
    findings = step.verify(change)
    assert holds(findings), findings
    assert not step.apply().changed
    step.assert_goes_back(change, before)


def test_time_to_live_that_may_not_be_read_is_told_as_a_missing_right(world: Any, fresh: Any) -> None:
    name = fresh("memory")
    make_table(world, name)
    step = table_step(world, name)
    dynamodb = step.measure.access.client("dynamodb")
    denied = refusing(dynamodb, "DescribeTimeToLive", "AccessDeniedException", 400)
    with denied, pytest.raises(PermanentCloudError, match="may not DescribeTimeToLive"):
        step.snapshot()


def test_a_release_within_the_hour_says_that_time_to_live_is_still_owed(
    world: Any, hourly: Callable[[float], None], expiring: tuple[str, Any]
) -> None:
    name, dynamodb = expiring
    step = table_step(world, name)
    before = step.snapshot()
    hourly(3600)
    late = step.apply()  # its owner changed it within the hour, so it cannot be stopped yet
    assert [each.observed for each in step.verify(late) if not each.holds] == [
        "time to live still deletes, by expires_at"
    ]
    hourly(0)
    change = step.apply()
    assert holds(step.verify(change))
    hourly(3600)
    early = step.revert(change)
    assert not early.holds
    assert (
        early.observed
        == "differs from before: ttl: DynamoDB takes one change an hour, release again after it"
    )
    dynamodb.put_item(TableName=name, Item={"session": {"S": "x"}})  # all else is lifted
    hourly(0)
    assert step.revert(change).holds
    assert step.snapshot() == before


def test_replicas_of_a_table_are_told_beforehand_and_not_counted_as_frozen(world: Any, fresh: Any) -> None:
    name = fresh("memory")
    dynamodb = make_table(world, name)
    dynamodb.update_table(TableName=name, ReplicaUpdates=[{"Create": {"RegionName": "eu-west-1"}}])
    step = table_step(world, name)
    told = "the replicas in eu-west-1 are not frozen: writing there is not refused"
    assert step.snapshot()["control"]["listed_only"] == [told]
    change = step.apply()
    assert [each.observed for each in step.verify(change) if not each.holds] == [told]
    assert step.revert(change).holds
