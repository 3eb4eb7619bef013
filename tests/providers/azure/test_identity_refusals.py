"""What a platform may refuse by itself: told where it is its nature, an error where rights are lacking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from firebreak.errors import PermanentCloudError
from firebreak.model import Run
from firebreak.settings import Settings
from providers.azure.arm import Arm
from providers.azure.graph import Graph
from providers.azure.identity import reach
from providers.azure.identity.accounts import ServiceAccount
from providers.azure.session import AzureAccess
from tests.providers.azure.identities import Estate, Step
from tests.providers.azure.scripted import Scripted, serving

PRINCIPAL = "0f0f0f0f-1111-4222-8333-444444444444"
PATH = f"/v1.0/servicePrincipals/{PRINCIPAL}"


@dataclass(frozen=True)
class Pointed(AzureAccess):
    """An access whose raw services are a script."""

    url: str = ""

    def graph(self) -> Graph:
        return Graph(f"{self.url}/v1.0", lambda: "token")

    def arm(self) -> Arm:
        return Arm(self.url, lambda: "token")


@pytest.fixture
def script() -> Iterator[Scripted]:
    with serving() as running:
        yield running


@pytest.fixture
def access(world: Any, script: Scripted) -> Pointed:
    run: Run = world.run(world.workload())
    return Pointed(run, Settings(), script.url)


def refuse(script: Scripted, kind: str, status: int, code: str) -> None:
    script.says("PATCH", PATH, status, {"error": {"code": code, "message": "no"}})
    script.says("GET", PATH, 200, {"id": PRINCIPAL, "servicePrincipalType": kind, "accountEnabled": True})


def test_a_managed_identity_that_cannot_be_disabled_as_such_is_said_to_be(
    access: Pointed, script: Scripted
) -> None:
    refuse(script, "ManagedIdentity", 400, "Request_BadRequest")
    reason = ServiceAccount(access, PRINCIPAL).switch(enabled=False)
    assert "does not disable this managed identity" in reason
    assert "Request_BadRequest" in reason


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("ManagedIdentity", 403, "Authorization_RequestDenied"),
        ("Application", 400, "Request_BadRequest"),
    ],
)
def test_every_other_refusal_is_an_error(
    access: Pointed, script: Scripted, kind: str, status: int, code: str
) -> None:
    refuse(script, kind, status, code)
    with pytest.raises(PermanentCloudError, match=code):
        ServiceAccount(access, PRINCIPAL).switch(enabled=False)


def test_a_skipped_measure_says_so_and_counts_for_nothing(world: Any) -> None:
    step = Step(world, "azure.disable-service-principal", Estate(world).managed())
    state = step.snapshot()
    change = step.measure.done(step.target, state, changed=False, skipped="the platform has no such thing")
    (finding,) = step.verify(change)
    assert finding.detail == {"skipped": True}
    assert finding.observed == "skipped, and not counted on: the platform has no such thing"


def test_without_privileged_identity_management_there_is_no_timed_assignment(
    access: Pointed, script: Scripted
) -> None:
    path = f"{access.scope}/providers/Microsoft.Authorization/roleAssignmentScheduleInstances"
    script.says("GET", path, 400, {"error": {"code": "AadPremiumLicenseRequired", "message": "no licence"}})
    assert list(reach._timed(access, PRINCIPAL)) == []


def test_schedules_that_cannot_be_read_are_an_error(access: Pointed, script: Scripted) -> None:
    path = f"{access.scope}/providers/Microsoft.Authorization/roleAssignmentScheduleInstances"
    script.says("GET", path, 403, {"error": {"code": "AuthorizationFailed", "message": "no"}})
    with pytest.raises(PermanentCloudError, match="AuthorizationFailed"):
        list(reach._timed(access, PRINCIPAL))
