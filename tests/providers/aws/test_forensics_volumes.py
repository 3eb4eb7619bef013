"""Snapshots of an instance's volumes: made once, and no proof without a lock on each."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from firebreak.errors import Irreversible, TransientCloudError
from providers.aws.forensics.volumes import SnapshotVolumes
from providers.aws.resources import Ec2Instance
from tests.providers.aws.hooks import hooked, refusing
from tests.providers.capturing import Step
from tests.providers.driving import holds


def snapshots(world: Any) -> Step:
    """A snapshot step of a fresh instance with two volumes."""
    ec2 = world.admin("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    run = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    instance = run["Instances"][0]["InstanceId"]
    zone = run["Instances"][0]["Placement"]["AvailabilityZone"]
    volume = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    declared = Ec2Instance(kind="ec2-instance", ref=instance)
    return Step(world, "aws.snapshot-volumes", network=(declared,))


def responder(step: Step) -> Any:
    """The client that the step itself calls."""
    return step.context.access.client("ec2")


def made(world: Any, step: Step) -> set[str]:
    """The snapshots there are of the step's volumes."""
    filters = [{"Name": "volume-id", "Values": step.state.values["volumes"]}]
    listed = world.admin("ec2").describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]
    return {each["SnapshotId"] for each in listed}


def test_volumes_are_snapshotted_once_and_locked(world: Any) -> None:
    step = snapshots(world)
    change = step.apply()
    assert change.changed
    assert sorted(change.after["snapshots"].values()) == step.state.values["volumes"]
    assert "under its volumes' keys" in change.after["kept"]
    findings = step.verify(change)
    assert holds(findings)
    assert [each.observed for each in findings] == ["2 snapshots: completed", "2 of 2 snapshots locked"]
    again = step.apply()
    assert not again.changed
    assert again.after["snapshots"] == change.after["snapshots"]
    with pytest.raises(Irreversible):
        step.attempt().revert(change)


def test_every_snapshot_has_to_be_there_and_locked(world: Any) -> None:
    step = snapshots(world)
    change, ec2 = step.apply(), world.admin("ec2")
    first, *_ = change.after["snapshots"]
    with pytest.raises(ClientError, match="locked"):
        ec2.delete_snapshot(SnapshotId=first)
    ec2.unlock_snapshot(SnapshotId=first)
    there, locked = step.verify(change)
    assert (there.holds, locked.holds, locked.observed) == (True, False, "1 of 2 snapshots locked")
    ec2.delete_snapshot(SnapshotId=first)
    there, locked = step.verify(change)
    assert (there.holds, locked.holds, locked.observed) == (False, False, "1 of 2 snapshots locked")


def test_snapshots_that_are_listed_late_are_locked_and_made_once(world: Any) -> None:
    step = snapshots(world)
    stale = [True, True]

    def unlisted(parsed: dict[str, Any], **_: Any) -> None:
        if stale:
            stale.pop()
            parsed["Snapshots"] = []

    with hooked(responder(step), "after-call.ec2.DescribeSnapshots", unlisted):
        change = step.apply()
        again = step.apply()
    assert not stale
    assert set(again.after["snapshots"]) == set(change.after["snapshots"]) == made(world, step)
    assert holds(step.verify(again))


def test_a_server_error_is_tried_again_and_never_counts_as_a_lock(world: Any) -> None:
    step = snapshots(world)
    refused = refusing(responder(step), "LockSnapshot", "InternalFailure", 500)
    with refused, pytest.raises(TransientCloudError, match="LockSnapshot"):
        step.apply()
    change = step.apply()
    assert set(change.after["snapshots"]) == made(world, step)
    assert holds(step.verify(change))


def test_a_connection_that_fails_is_tried_again(world: Any) -> None:
    def fail(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://ec2")

    step = snapshots(world)
    cut_off = hooked(responder(step), "before-call.ec2.LockSnapshot", fail)
    with cut_off, pytest.raises(TransientCloudError, match="could not be reached"):
        step.apply()
    assert holds(step.verify(step.apply()))


def test_a_snapshot_that_is_not_known_yet_is_tried_again(world: Any) -> None:
    step = snapshots(world)
    unknown = refusing(responder(step), "LockSnapshot", "InvalidSnapshot.NotFound", 400)
    with unknown, pytest.raises(TransientCloudError, match=r"InvalidSnapshot\.NotFound"):
        step.apply()
    assert holds(step.verify(step.apply()))


def test_snapshots_that_cannot_be_locked_prove_nothing(world: Any) -> None:
    step = snapshots(world)
    with refusing(responder(step), "LockSnapshot", "UnsupportedOperation", 400):
        change = step.apply()
    for each in change.after["snapshots"]:
        world.admin("ec2").unlock_snapshot(SnapshotId=each)
    *_, locked = step.verify(change)
    assert (locked.holds, locked.observed) == (False, "0 of 2 snapshots locked")
    assert set(locked.detail["answers"].values()) == {"not locked: UnsupportedOperation"}


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-central-1", "aws"), ("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn")],
)
def test_places_are_in_the_region_s_partition(world: Any, region: str, partition: str) -> None:
    workload = world.workload(network=(Ec2Instance(kind="ec2-instance", ref="i-0123456789abcdef0"),))
    (target,) = SnapshotVolumes.applies_to(workload.model_copy(update={"region": region}))
    for action in ("ec2:CreateTags", "ec2:CreateSnapshots"):
        places = SnapshotVolumes.places(action, target, workload)
        assert all(each.startswith(f"arn:{partition}:ec2:{region}:") for each in places)
