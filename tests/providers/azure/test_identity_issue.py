"""Phase 1 on Azure, authentication: no token is issued any more, on any of the workload's ways to one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from firebreak.errors import ContainmentError, Irreversible, PermanentCloudError
from firebreak.measure import measure
from firebreak.model import JsonObject
from providers.azure.session import AzureMeasure
from tests.providers.azure.identities import EXCHANGE, SUBJECT, Estate, Step, certificate

DISABLE = "azure.disable-service-principal"
FEDERATED = "azure.remove-federated-credentials"
CREDENTIALS = "azure.remove-app-credentials"


@pytest.fixture
def estate(world: Any) -> Iterator[Estate]:
    yield Estate(world)
    world.sandbox.configure(role_propagation_seconds=0)
    world.sandbox.clear_faults()


def before(state: Any) -> JsonObject:
    return {name: each for name, each in state.values.items() if name != "control"}


@pytest.mark.parametrize("kind", ["managed", "service"])
def test_a_disabled_principal_gets_no_token_and_is_enabled_again(
    world: Any, estate: Estate, kind: str
) -> None:
    resource = getattr(estate, kind)()
    step = Step(world, DISABLE, resource)
    state = step.snapshot()
    change = step.apply(state)
    assert change.changed
    assert step.holds(change)
    assert "AADSTS7000112" in step.verify(change)[0].observed
    # A token from before is still honoured: disabling alone contains nothing.
    assert estate.as_identity(resource).status_code == 200
    assert not step.apply(state).changed
    for _ in range(2):
        assert step.measure.revert(change).holds
    assert step.observed() == before(state)
    assert [each.holds for each in step.verify(change)] == [False, False]


@pytest.mark.parametrize("name", [DISABLE, FEDERATED])
def test_nothing_is_proved_before_the_change(world: Any, estate: Estate, name: str) -> None:
    step = Step(world, name, estate.managed())
    pretended = step.measure.done(step.target, step.snapshot(), changed=True)
    assert [(each.holds, each.inconclusive) for each in step.verify(pretended)] == [
        (False, False),
        (False, False),
    ]


def test_secrets_are_not_proved_gone_before_they_are(world: Any, estate: Estate) -> None:
    step = Step(world, CREDENTIALS, estate.service())
    pretended = step.measure.done(step.target, step.snapshot(), changed=True)
    assert not any(each.holds for each in step.verify(pretended))


def test_a_principal_that_was_disabled_before_stays_so(world: Any, estate: Estate) -> None:
    service = estate.service()
    world.admin_graph().patch(f"/servicePrincipals/{service['ref']}", {"accountEnabled": False})
    step = Step(world, DISABLE, service)
    state = step.snapshot()
    change = step.apply(state)
    assert not change.changed
    probe, listed = step.verify(change)
    assert probe.inconclusive
    assert listed.holds
    assert step.measure.revert(change).holds
    assert not estate.directory(f"/servicePrincipals/{service['ref']}")["accountEnabled"]


def test_an_agents_own_user_is_disabled_and_signed_out(world: Any, estate: Estate) -> None:
    user = world.sandbox.create_user("agent")
    service = estate.service(agent_user=user)
    workload = world.workload(identities=(service,))
    step = Step.__new__(Step)
    step.context = world.context(workload)
    step.measure = cast("AzureMeasure", measure(DISABLE)(step.context))
    _, step.target = step.measure.applies_to(workload)
    assert (step.target.kind, step.target.ref) == ("agent-user", user)
    assert step.measure.discover(step.target) == [step.target]
    state = step.snapshot()
    assert not step.holds(step.measure.done(step.target, state, changed=True))
    change = step.apply(state)
    assert change.changed
    assert step.holds(change)
    assert not step.apply(state).changed
    signed_out = estate.directory(f"/users/{user}")["signInSessionsValidFromDateTime"]
    assert step.measure.revert(change).holds
    found = estate.directory(f"/users/{user}")
    assert found["accountEnabled"]
    assert found["signInSessionsValidFromDateTime"] == signed_out


def test_two_workloads_keep_a_shared_principal_disabled_until_both_are_released(
    world: Any, estate: Estate
) -> None:
    managed = estate.managed()
    one, other = (Step(world, DISABLE, managed, workload=name) for name in ("one", "other"))
    first = one.apply(one.snapshot())
    second = other.apply(other.snapshot())
    assert "other" in one.measure.revert(first).observed
    assert other.verify(second)[1].holds
    assert other.measure.revert(second).holds
    assert one.observed() == {"enabled": True}


@pytest.mark.parametrize("kind", ["managed", "service"])
def test_federated_credentials_go_and_return_with_every_field(world: Any, estate: Estate, kind: str) -> None:
    resource = estate.managed() if kind == "managed" else registered(world, estate)
    if kind == "managed":
        estate.trust(resource["ref"], "aks", "system:serviceaccount:agents:main")
    step = Step(world, FEDERATED, resource)
    state = step.snapshot()
    assert {"firebreak-probe", "aks"} <= set(state.values["credentials"])
    change = step.apply(state)
    assert step.holds(change)
    assert "AADSTS70021" in step.verify(change)[0].observed
    assert not step.apply(state).changed
    for _ in range(2):
        assert step.measure.revert(change).holds
    assert step.observed() == before(state)
    assert not step.holds(change)


def registered(world: Any, estate: Estate) -> JsonObject:
    """A service principal without a secret of its own for the probe, whose application trusts two issuers."""
    service = estate.service(secret=False)
    path = f"/applications/{service['application_object_id']}/federatedIdentityCredentials"
    trusted = {
        "name": "aks",
        "issuer": "https://oidc.example",
        "subject": "agents:main",
        "audiences": EXCHANGE,
    }
    world.admin_graph().post(path, {**trusted, "description": "the cluster"})
    return service


def test_a_credential_that_was_altered_meanwhile_is_put_right(world: Any, estate: Estate) -> None:
    managed = estate.managed()
    step = Step(world, FEDERATED, managed)
    state = step.snapshot()
    change = step.apply(state)
    estate.trust(managed["ref"], "firebreak-probe", "attacker", issuer="https://evil.example")
    assert not step.holds(change)
    assert step.measure.revert(change).holds
    assert step.observed() == before(state)


def test_without_firebreaks_own_credential_the_removal_is_not_proved(world: Any, estate: Estate) -> None:
    managed = estate.managed(federated=False)
    none = Step(world, FEDERATED, managed)
    state = none.snapshot()
    assert none.holds(none.apply(state))  # there was no such way in
    estate.trust(managed["ref"], "aks", "system:serviceaccount:agents:main")
    step = Step(world, FEDERATED, managed)
    probe, listed = step.verify(step.apply(step.snapshot()))
    assert probe.inconclusive
    assert "firebreak-probe" in probe.observed
    assert listed.holds


def test_two_workloads_on_federated_credentials(world: Any, estate: Estate) -> None:
    managed = estate.managed()
    one, other = (Step(world, FEDERATED, managed, workload=name) for name in ("one", "other"))
    state = one.snapshot()
    first, second = one.apply(state), other.apply(other.snapshot())
    assert other.measure.revert(second).holds
    assert one.verify(first)[1].holds
    assert one.measure.revert(first).holds
    assert one.observed() == before(state)


def test_secrets_die_for_good_and_certificates_return(world: Any, estate: Estate) -> None:
    service, graph = estate.service(), world.admin_graph()
    application = f"/applications/{service['application_object_id']}"
    principal = f"/servicePrincipals/{service['ref']}"
    keys = {place: certificate() for place in (application, principal)}
    for place, key in keys.items():
        graph.patch(place, {"keyCredentials": [key]})
    step = Step(world, CREDENTIALS, service)
    state = step.snapshot()
    change = step.apply(state)
    assert len(change.after["removed"]) == 3
    assert step.holds(change)
    assert "AADSTS7000215" in step.verify(change)[0].observed
    assert not step.apply(state).changed
    for _ in range(2):
        with pytest.raises(Irreversible, match="issued anew") as kept:
            step.measure.revert(change)
        assert kept.value.remedy.startswith("issue anew: secret sandbox")
    for place, key in keys.items():
        assert estate.directory(place)["keyCredentials"] == [key]
        assert estate.directory(place)["passwordCredentials"] == []


def test_certificates_alone_are_restored_without_a_loss(world: Any, estate: Estate) -> None:
    service = estate.service()
    application = f"/applications/{service['application_object_id']}"
    for each in estate.directory(application)["passwordCredentials"]:
        world.admin_graph().post(f"{application}/removePassword", {"keyId": each["keyId"]})
    world.admin_graph().patch(application, {"keyCredentials": [certificate()]})
    step = Step(world, CREDENTIALS, service)
    state = step.snapshot()
    change = step.apply(state)
    probe, listed = step.verify(change)
    assert probe.inconclusive  # the declared secret did not work before
    assert listed.holds
    assert step.measure.revert(change).holds
    assert step.observed() == before(state)


def test_no_secret_is_in_any_record(world: Any, estate: Estate) -> None:
    service = estate.service()
    step = Step(world, CREDENTIALS, service)
    state = step.snapshot()
    change = step.apply(state)
    text = step.text(state, change, *step.verify(change))
    hints = [
        each["hint"]
        for each in estate.directory(f"/servicePrincipals/{service['ref']}")["passwordCredentials"]
    ]
    assert "hint" not in text
    assert not hints
    assert "eyJ" not in text


def test_an_application_of_several_tenants_has_a_wider_blast_radius(world: Any, estate: Estate) -> None:
    service = estate.service()
    path = f"/applications/{service['application_object_id']}"
    world.admin_graph().patch(path, {"signInAudience": "AzureADMultipleOrgs"})
    step = Step(world, CREDENTIALS, {**service, "used_by": [SUBJECT]})
    (others,) = step.measure.blast_radius(step.target)
    assert "in other tenants" in others


def test_only_service_principals_have_app_credentials(world: Any, estate: Estate) -> None:
    workload = world.workload(identities=(estate.managed(), estate.service(application_object_id="")))
    assert [each.kind for each in measure(CREDENTIALS).applies_to(workload)] == ["service-principal"]
    assert [each.kind for each in measure(FEDERATED).applies_to(workload)] == ["managed-identity"]


@pytest.mark.parametrize("name", [DISABLE, FEDERATED])
def test_throttling_is_transient(world: Any, estate: Estate, name: str) -> None:
    step = Step(world, name, estate.managed())
    state = step.snapshot()
    world.sandbox.inject("throttle", host="graph" if name == DISABLE else "arm", times=-1, retry_after=0)
    with pytest.raises(ContainmentError) as caught:
        step.apply(state)
    assert caught.value.retryable
    world.sandbox.clear_faults()
    assert step.holds(step.apply(state))


NOT_ALWAYS = {
    # where the inventory declares probe_vm or no secret
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/runCommand/action",
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (DISABLE, "managed"),
        (DISABLE, "service"),
        (FEDERATED, "managed"),
        (FEDERATED, "service"),
        (CREDENTIALS, "service"),
    ],
)
def test_the_declared_permissions_suffice_and_none_is_too_many(
    world: Any, estate: Estate, name: str, kind: str
) -> None:
    def make() -> JsonObject:
        if kind == "managed":
            return estate.managed()
        if name == FEDERATED:
            return registered(world, estate)
        # Without its registration the secret is the only way to a token.
        return estate.service(application_object_id="")

    lived(world, name, make(), "")
    kind_of = measure(name)
    target = kind_of.applies_to(world.workload(identities=(make(),)))[0]
    for permission in sorted({each.action for each in kind_of.needed(target)} - NOT_ALWAYS):  # type: ignore[attr-defined]
        with pytest.raises(PermanentCloudError):
            lived(world, name, make(), permission)


def lived(world: Any, name: str, resource: JsonObject, without: str) -> None:
    """A whole life behind the printed roles, with one permission missing."""
    workload = world.least(world.workload(identities=(resource,)), name, without=without)
    step = Step(world, name, resource, access=workload.access)
    step.measure.blast_radius(step.target)
    state = step.snapshot()
    if not state.values["control"]["works"]:
        raise PermanentCloudError(state.values["control"]["why_not"])
    change = step.apply(state)
    try:
        finding = step.measure.revert(change)
    except Irreversible:
        return
    assert finding.holds
