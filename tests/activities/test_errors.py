from __future__ import annotations

import dataclasses

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.errors import UNEXPECTED_ATTEMPTS, translated
from firebreak.errors import PermanentCloudError, TransientCloudError


def raised_in_attempt(attempt: int, error: Exception) -> Exception:
    """What an activity raises when this happens in it."""

    def step() -> None:
        with translated():
            raise error

    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=attempt)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one it is, is what the tests look at
        environment.run(step)
    return caught.value


def test_a_surprise_is_tried_again_at_first() -> None:
    error = KeyError("Policy")
    assert raised_in_attempt(UNEXPECTED_ATTEMPTS - 1, error) is error


def test_a_surprise_that_stays_becomes_permanent_and_says_what_it_was() -> None:
    raised = raised_in_attempt(UNEXPECTED_ATTEMPTS, KeyError("Policy"))
    assert isinstance(raised, ApplicationError)
    assert (raised.type, raised.non_retryable) == ("UnexpectedError", True)
    assert raised.message == "unexpected KeyError: 'Policy'"


@pytest.mark.parametrize("attempt", [1, UNEXPECTED_ATTEMPTS])
def test_a_busy_cloud_is_tried_again_however_often(attempt: int) -> None:
    raised = raised_in_attempt(attempt, TransientCloudError("throttled"))
    assert isinstance(raised, ApplicationError)
    assert not raised.non_retryable


def test_what_trying_again_cannot_change_is_permanent_at_once() -> None:
    raised = raised_in_attempt(1, PermanentCloudError("no such role"))
    assert isinstance(raised, ApplicationError)
    assert (raised.type, raised.non_retryable) == ("PermanentCloudError", True)
