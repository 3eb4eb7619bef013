"""What an answer to an identity probe means, and which probes and secrets an inventory may declare."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from firebreak.probing import Answer, Control, Kind, control_of, judge
from providers.azure.answers import RestError
from providers.azure.probes import classify
from providers.azure.resources.identities import ManagedIdentity, Probe, ServicePrincipal, audience_of

SUBSCRIPTION = "/subscriptions/f1aeb1a0-0000-4000-8000-000000000001"
GUID = "0f0f0f0f-1111-4222-8333-444444444444"
CALL = "GET https://management.azure.com/x"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AuthorizationFailed", Kind.DENIED),
        (403, "DenyAssignmentAuthorizationFailed", Kind.DENIED),
        (403, "AuthorizationPermissionMismatch", Kind.DENIED),
        (403, "AuthenticationTypeDisabled", Kind.DENIED),
        (401, "PermissionDenied", Kind.DENIED),
        (401, "InvalidAuthenticationToken", Kind.DEAD),
        (400, "AADSTS7000112", Kind.DEAD),
        (401, "AADSTS700016", Kind.DEAD),
        (400, "AADSTS700213", Kind.DEAD),
        (401, "AADSTS7000215", Kind.DEAD),
        (400, "AADSTS700024", Kind.UNKNOWN),  # Firebreak's own assertion expired
        (403, "AuthorizationFailure", Kind.UNKNOWN),  # a storage firewall
        (403, "Forbidden 5301", Kind.DENIED),  # Cosmos DB: metadata refused by its roles
        (403, "Forbidden 5302", Kind.DENIED),  # and data
        (403, "Forbidden 0", Kind.UNKNOWN),  # its firewall
        (403, "Forbidden 5300", Kind.UNKNOWN),  # what no Entra token may do
        (401, "Unauthorized 0", Kind.UNKNOWN),
        (403, "", Kind.UNKNOWN),
        (404, "ResourceNotFound", Kind.UNKNOWN),
        (429, "TooManyRequests", Kind.UNKNOWN),
        (500, "AuthorizationFailed", Kind.UNKNOWN),
        (503, "ServerBusy", Kind.UNKNOWN),
    ],
)
def test_only_code_and_status_decide_what_a_refusal_means(status: int, code: str, kind: Kind) -> None:
    classified = classify(CALL, RestError(status, code, "no"))
    assert classified.kind is kind
    finding = judge([classified], Control((CALL,)), "token")
    assert finding.holds is (kind is not Kind.UNKNOWN)
    assert finding.inconclusive is (kind is Kind.UNKNOWN)


def test_a_lost_packet_proves_nothing() -> None:
    assert classify(CALL, httpx.ReadTimeout("late")).kind is Kind.UNKNOWN


def test_one_allowed_call_outweighs_every_refusal() -> None:
    answers = [
        Answer("a", Kind.DENIED, "AuthorizationFailed", 403),
        Answer("b", Kind.ALLOWED, "", 200),
        Answer("c", Kind.UNKNOWN, "TooManyRequests", 429),
    ]
    finding = judge(answers, Control(("a", "b", "c")), "token")
    assert not finding.holds
    assert not finding.inconclusive


def test_only_calls_that_worked_before_count() -> None:
    denied, allowed = Answer("a", Kind.DENIED, "AuthorizationFailed", 403), Answer("b", Kind.ALLOWED)
    control = control_of([denied, allowed])
    assert control.works == ("b",)
    assert judge([denied], control, "token").inconclusive
    assert judge([denied], control_of([denied]), "token").inconclusive


@pytest.mark.parametrize(
    ("url", "audience"),
    [
        ("https://management.azure.com/subscriptions?api-version=1", "https://management.azure.com/"),
        ("https://account.blob.core.windows.net/c/b", "https://storage.azure.com/"),
        ("https://name.openai.azure.com/openai/models", "https://cognitiveservices.azure.com/"),
        ("https://agent.documents.azure.com/dbs/a/colls/b", "https://agent.documents.azure.com/"),
        ("https://documents.azure.com/", ""),
        ("https://agent.documents.azure.com.evil.example/dbs/a", ""),
        ("https://evil.example/", ""),
        ("https://management.azure.com.evil.example/", ""),
        ("https://.blob.core.windows.net/", ""),
        ("https://notmanagement.azure.com/", ""),
    ],
)
def test_a_token_goes_only_where_it_belongs(url: str, audience: str) -> None:
    assert audience_of(url) == audience


@pytest.mark.parametrize(
    "url",
    [
        "http://management.azure.com/x",
        "https://management.azure.com:8443/x",
        "https://user@management.azure.com/x",
        "https://management.azure.com.evil.example/x",
        "https://evil.example/management.azure.com",
        "https://management.azure.com/x y",
    ],
)
def test_other_probes_are_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Probe(url=url)


def service(**more: Any) -> ServicePrincipal:
    values = {"kind": "service-principal", "ref": GUID, "client_id": GUID, "tenant_id": GUID, **more}
    return ServicePrincipal.model_validate(values)


def test_a_secret_is_named_by_address_or_by_id() -> None:
    by_url = service(credential_secret="https://kv-agent.vault.azure.net/secrets/agent")
    by_id = service(
        credential_secret=f"{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv-agent/secrets/agent"
    )
    assert by_url.secret_url("vault.azure.net") == by_id.secret_url("vault.azure.net")
    assert by_url.secret_scope == ""
    assert by_id.secret_scope.endswith("/vaults/kv-agent/secrets/agent")
    with pytest.raises(ValidationError):
        service(credential_secret="https://kv-agent.vault.evil.example/secrets/agent")


@pytest.mark.parametrize(
    "ref",
    [
        f"{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/a/b",
        f"{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/",
        f"{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/vm",
        "agent",
    ],
)
def test_an_identity_is_named_by_its_exact_id(ref: str) -> None:
    values = {"kind": "managed-identity", "principal_id": GUID, "client_id": GUID, "tenant_id": GUID}
    with pytest.raises(ValidationError):
        ManagedIdentity.model_validate({**values, "ref": ref})
