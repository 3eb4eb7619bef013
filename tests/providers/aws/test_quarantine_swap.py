"""The two-step swap of the AWS quarantine: whatever fails on the way, no interface is left open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from typing import Any

import pytest

from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.model import State
from providers.aws.network.groups import PURPOSE_TAG
from tests.providers.aws.hooks import hooked
from tests.providers.aws.netground import Ground, Steps, quarantine

SWAP = "ModifyNetworkInterfaceAttribute"
ATTEMPTS = 6
"""How often the SDK tries one call."""
NOWHERE = "sg-00000000000000000"


class WorkerDiedError(BaseException):
    """The process is gone: nothing of ours runs after it."""


@pytest.fixture
def steps(ground: Ground) -> Steps:
    return quarantine(ground, {"kind": "network-interface", "ref": ground.first})


def before_each(
    steps: Steps, operation: str, act: Callable[[int, dict[str, Any]], None]
) -> AbstractContextManager[None]:
    """Do something before each call of an operation: it gets the call's number and its parameters."""
    numbers = count(1)

    def hook(params: dict[str, Any], **_: Any) -> None:
        act(next(numbers), params)

    return hooked(steps.context.access.client("ec2"), f"provide-client-params.ec2.{operation}", hook)


def stale_once(steps: Steps, operation: str, member: str) -> AbstractContextManager[None]:
    """Let the first answer of a reading be the one from before everything was made."""
    answers: Iterator[list[Any]] = iter([[]])

    def hook(parsed: dict[str, Any], **_: Any) -> None:
        parsed[member] = next(answers, parsed[member])

    return hooked(steps.context.access.client("ec2"), f"after-call.ec2.{operation}", hook)


def opened(ground: Ground) -> set[str]:
    found = ground.ec2.describe_security_groups(Filters=[{"Name": f"tag:{PURPOSE_TAG}", "Values": ["open"]}])
    return {each["GroupId"] for each in found["SecurityGroups"]}


def egress(ground: Ground, group: str) -> list[Any]:
    found = ground.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    return list(found["IpPermissionsEgress"])


def fault(ground: Ground, steps: Steps, swap: int, kind: str, times: int) -> AbstractContextManager[None]:
    """A fault of the cloud, from one of the swaps on."""

    def inject(number: int, _: dict[str, Any]) -> None:
        if number == swap:
            ground.world.sandbox.inject(kind, service="ec2", operation=SWAP, times=times)

    return before_each(steps, SWAP, inject)


def fail_to_close(ground: Ground, steps: Steps, states: list[State]) -> None:
    """Neither the second swap nor what would make up for it is allowed."""
    with fault(ground, steps, 2, "denied", 2), pytest.raises(PermanentCloudError, match=SWAP):
        steps.apply(states)


def lose_answers(ground: Ground, steps: Steps, states: list[State], *, swap: int, times: int) -> None:
    """From one of the swaps on, each is made and none is answered."""
    with (
        fault(ground, steps, swap, "drop_after", times),
        pytest.raises(TransientCloudError, match="could not be reached"),
    ):
        steps.apply(states)


def die_between_the_swaps(steps: Steps, states: list[State]) -> None:
    def die(number: int, _: dict[str, Any]) -> None:
        if number == 2:
            raise WorkerDiedError

    with before_each(steps, SWAP, die), pytest.raises(WorkerDiedError):
        steps.apply(states)


def test_when_the_second_swap_fails_once_the_interface_is_closed_all_the_same(
    ground: Ground, steps: Steps
) -> None:
    connection = ground.connect(ground.first, "10.42.1.20")["connection_id"]
    with fault(ground, steps, 2, "denied", 1):
        (change,) = steps.apply(steps.snapshot())
    assert ground.groups(ground.first) == [change.after["group"]]
    assert not egress(ground, change.after["group"])
    assert not ground.delivered(connection)


def test_when_it_cannot_be_closed_it_is_back_in_its_own_groups(ground: Ground, steps: Steps) -> None:
    states = steps.snapshot()
    fail_to_close(ground, steps, states)
    assert ground.groups(ground.first) == [ground.group]
    (change,) = steps.apply(states)
    assert ground.groups(ground.first) == [change.after["group"]]


def test_when_the_first_swaps_answer_is_lost_it_is_not_left_open(ground: Ground, steps: Steps) -> None:
    states = steps.snapshot()
    lose_answers(ground, steps, states, swap=1, times=ATTEMPTS)
    assert ground.groups(ground.first) == [ground.group]


def test_when_only_the_answers_of_closing_are_lost_it_stays_closed(ground: Ground, steps: Steps) -> None:
    connection = ground.connect(ground.first, "10.42.1.20")["connection_id"]
    states = steps.snapshot()
    lose_answers(ground, steps, states, swap=2, times=2 * ATTEMPTS)
    assert not set(ground.groups(ground.first)) & {ground.group, *opened(ground)}
    (change,) = steps.apply(states)
    assert ground.groups(ground.first) == [change.after["group"]]
    assert not ground.delivered(connection)


def test_a_group_that_aws_does_not_know_yet_is_tried_again(ground: Ground, steps: Steps) -> None:
    states = steps.snapshot()

    def to_an_unknown_group(number: int, params: dict[str, Any]) -> None:
        if number in (2, 3):
            params["Groups"] = [NOWHERE]

    with (
        before_each(steps, SWAP, to_an_unknown_group),
        pytest.raises(TransientCloudError, match=r"InvalidGroup\.NotFound"),
    ):
        steps.apply(states)
    assert not set(ground.groups(ground.first)) & opened(ground)
    (change,) = steps.apply(states)
    assert ground.groups(ground.first) == [change.after["group"]]


def test_a_reading_from_before_leaves_no_rule_in_the_quarantine_group(ground: Ground, steps: Steps) -> None:
    with stale_once(steps, "DescribeSecurityGroupRules", "SecurityGroupRules"):
        (change,) = steps.apply(steps.snapshot())
    assert ground.groups(ground.first) == [change.after["group"]]
    assert not egress(ground, change.after["group"])


def test_a_crash_between_the_swaps_is_completed(ground: Ground, steps: Steps) -> None:
    connection = ground.connect(ground.first, "10.42.1.20")["connection_id"]
    states = steps.snapshot()
    die_between_the_swaps(steps, states)
    assert set(ground.groups(ground.first)) <= opened(ground)
    changes = steps.apply(states)
    assert changes[0].changed
    assert changes[0].before["groups"] == [ground.group]
    assert ground.groups(ground.first) == [changes[0].after["group"]]
    assert not ground.delivered(connection)
    assert all(each.holds for each in steps.revert(changes))
    assert ground.groups(ground.first) == [ground.group]


def test_after_a_crash_between_the_swaps_its_own_groups_are_the_planned_ones(
    ground: Ground, steps: Steps
) -> None:
    states = steps.snapshot()
    die_between_the_swaps(steps, states)
    fail_to_close(ground, steps, states)
    assert ground.groups(ground.first) == [ground.group]
