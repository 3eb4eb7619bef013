from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientAssertionCredential, ClientSecretCredential
from azure.mgmt.msi import ManagedServiceIdentityClient
from azure.mgmt.msi.models import FederatedIdentityCredential
from azure.mgmt.msi.models import Identity as MsiIdentity

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, HOME_TENANT, Identity, SandboxError

SCOPE = "https://management.azure.com/.default"
ISSUER, SUBJECT = "https://oidc.example/cluster", "system:serviceaccount:ai:agent"
DAY = 86400


@pytest.fixture
def client(
    tenant: Any, credential: Callable[[Identity], ClientSecretCredential]
) -> ManagedServiceIdentityClient:
    return ManagedServiceIdentityClient(
        credential(tenant.principal("Owner")), HOME_SUBSCRIPTION, retry_total=0
    )


def federated(subject: str = SUBJECT) -> FederatedIdentityCredential:
    return FederatedIdentityCredential(
        issuer=ISSUER, subject=subject, audiences=["api://AzureADTokenExchange"]
    )


def exchange(tenant: Any, client_id: str, subject: str = SUBJECT) -> str:
    assertion = tenant.sandbox.assertion(ISSUER, subject)
    return ClientAssertionCredential(HOME_TENANT, client_id, lambda: assertion).get_token(SCOPE).token


def test_an_identity_has_a_principal_in_the_directory(tenant: Any, client: Any) -> None:
    tenant.group()
    made = client.user_assigned_identities.create_or_update("Ai", "agent", MsiIdentity(location="westeurope"))
    found = tenant.graph_admin("GET", f"servicePrincipals/{made.principal_id}").body
    assert (found["appId"], found["servicePrincipalType"]) == (made.client_id, "ManagedIdentity")
    again = client.user_assigned_identities.create_or_update(
        "Ai", "agent", MsiIdentity(location="westeurope")
    )
    assert again.principal_id == made.principal_id
    client.user_assigned_identities.delete("Ai", "agent")
    assert tenant.graph_admin("GET", f"servicePrincipals/{made.principal_id}").status == 404


def test_a_new_identity_of_the_same_name_is_another_principal(tenant: Any, client: Any) -> None:
    first = tenant.managed_identity(tenant.group())["properties"]["principalId"]
    client.user_assigned_identities.delete("Ai", "agent")
    again = tenant.managed_identity(f"/subscriptions/{HOME_SUBSCRIPTION}/resourceGroups/Ai")
    assert again["properties"]["principalId"] != first


def test_federated_credentials_come_and_go(tenant: Any, client: Any, refused: Any) -> None:
    tenant.managed_identity(tenant.group())
    credentials = client.federated_identity_credentials
    made = credentials.create_or_update("Ai", "agent", "firebreak-probe", federated())
    assert (made.issuer, made.subject) == (ISSUER, SUBJECT)
    assert [one.name for one in credentials.list("Ai", "agent")] == ["firebreak-probe"]
    assert refused(credentials.create_or_update, "Ai", "agent", "twin", federated())[0] == 409
    credentials.delete("Ai", "agent", "firebreak-probe")
    credentials.delete("Ai", "agent", "firebreak-probe")
    assert refused(credentials.get, "Ai", "agent", "firebreak-probe")[0] == 404


def test_a_federated_token_acts_as_the_identity_until_the_trust_ends(tenant: Any, client: Any) -> None:
    group = tenant.group()
    identity = tenant.managed_identity(group)["properties"]
    tenant.sandbox.grant(identity["principalId"], "Reader", group)
    client.federated_identity_credentials.create_or_update("Ai", "agent", "firebreak-probe", federated())
    token = exchange(tenant, identity["clientId"])
    assert tenant.call(token, "GET", group).status == 200
    client.federated_identity_credentials.delete("Ai", "agent", "firebreak-probe")
    with pytest.raises(ClientAuthenticationError, match="AADSTS70021:"):
        exchange(tenant, identity["clientId"])
    assert tenant.call(token, "GET", group).status == 200


def test_a_disabled_identity_is_refused_although_the_trust_stands(tenant: Any, client: Any) -> None:
    identity = tenant.managed_identity(tenant.group())["properties"]
    client.federated_identity_credentials.create_or_update("Ai", "agent", "probe", federated())
    tenant.graph_admin("PATCH", f"servicePrincipals/{identity['principalId']}", {"accountEnabled": False})
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000112"):
        exchange(tenant, identity["clientId"])


def machine(tenant: Any, group: str, *identities: str) -> str:
    path = f"{group}/providers/Microsoft.Compute/virtualMachines/agent"
    identity = {"type": "UserAssigned", "userAssignedIdentities": {one: {} for one in identities}}
    body = {"location": "westeurope", "identity": identity, "properties": {}}
    tenant.sandbox.arm("PUT", path, "2025-04-01", body)
    return path


def test_a_host_is_given_the_same_token_for_a_day(tenant: Any) -> None:
    group = tenant.group()
    identity = tenant.managed_identity(group)
    host = machine(tenant, group, identity["id"])
    first = tenant.sandbox.host_token(host)["access_token"]
    tenant.sandbox.advance(DAY / 2)
    assert tenant.sandbox.host_token(host, identity=identity["id"])["access_token"] == first
    tenant.sandbox.grant(identity["properties"]["principalId"], "Reader", group)
    assert tenant.call(first, "GET", group).status == 200
    tenant.sandbox.advance(DAY / 2)
    assert tenant.sandbox.host_token(host)["access_token"] != first


def test_a_disabled_identity_gets_no_token_on_its_host_but_keeps_the_issued_one(tenant: Any) -> None:
    group = tenant.group()
    identity = tenant.managed_identity(group)
    host = machine(tenant, group, identity["id"])
    principal = identity["properties"]["principalId"]
    tenant.sandbox.grant(principal, "Reader", group)
    token = tenant.sandbox.host_token(host)["access_token"]
    tenant.graph_admin("PATCH", f"servicePrincipals/{principal}", {"accountEnabled": False})
    assert tenant.sandbox.host_token(host)["refused"] == "AADSTS7000112"
    assert tenant.call(token, "GET", group).status == 200


def test_a_host_that_lost_the_identity_gets_no_token(tenant: Any) -> None:
    group = tenant.group()
    identity = tenant.managed_identity(group)
    host = machine(tenant, group, identity["id"])
    assert tenant.sandbox.host_token(host)["access_token"]
    machine(tenant, group)
    with pytest.raises(SandboxError, match="Identity not found"):
        tenant.sandbox.host_token(host)


def test_a_wish_for_an_identity_the_host_does_not_bear_is_refused(tenant: Any) -> None:
    group = tenant.group()
    own, other = (tenant.managed_identity(group, name) for name in ("own", "other"))
    host = machine(tenant, group, own["id"])
    with pytest.raises(SandboxError, match="Identity not found"):
        tenant.sandbox.host_token(host, identity=other["id"])
