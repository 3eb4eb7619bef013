"""A freeze that fails for good after its first change is lifted all the same."""

from __future__ import annotations

from typing import Any

import pytest

from firebreak.errors import PermanentCloudError
from firebreak.model import State
from tests.providers.aws.freezing import Step, make_bucket, objects_step, seed_objects


def lifted(step: Step, state: State) -> bool:
    """Whether release finds what was begun, and with it the state from before."""
    change = step.measure.begun(step.target, state)
    return bool(step.revert(change).holds)


def test_policy_and_holds_are_lifted_where_hashing_is_refused(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=True)
    seed_objects(s3, bucket)
    step = objects_step(world, bucket)
    before = step.snapshot()
    world.sandbox.inject("denied", service="s3", operation="GetObject", times=-1)
    with pytest.raises(PermanentCloudError, match="GetObject"):
        step.apply()
    world.sandbox.clear_faults()
    assert s3.head_object(Bucket=bucket, Key="models/a.bin")["ObjectLockLegalHoldStatus"] == "ON"
    assert step.state
    assert lifted(step, step.state)
    assert step.snapshot() == before
    s3.put_object(Bucket=bucket, Key="models/a.bin", Body=b"new weights")


def test_an_object_deleted_before_the_freeze_does_not_keep_the_policy(world: Any, fresh: Any) -> None:
    bucket = fresh("artifacts")
    s3 = make_bucket(world, bucket, lock=True)
    seed_objects(s3, bucket)
    step = objects_step(world, bucket)
    step.snapshot()
    world.sandbox.inject("denied", service="s3", operation="GetObject", times=-1)
    with pytest.raises(PermanentCloudError):
        step.apply()
    world.sandbox.clear_faults()
    step.measure.access.client("s3").delete_bucket_policy(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="prompts/p.txt")
    with pytest.raises(PermanentCloudError, match="does not exist"):
        step.apply()
    assert step.state
    assert lifted(step, step.state)
    s3.put_object(Bucket=bucket, Key="models/a.bin", Body=b"new weights")
