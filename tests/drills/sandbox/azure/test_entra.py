from __future__ import annotations

import base64
import datetime as dt
from pathlib import Path
from typing import Any

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    DefaultAzureCredential,
    EnvironmentCredential,
    WorkloadIdentityCredential,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from drills.sandbox.azure.client import HOME_TENANT, AzureSandbox, Identity

ARM = "https://management.azure.com"
SCOPE = f"{ARM}/.default"
ISSUER, SUBJECT = "https://oidc.example/cluster", "system:serviceaccount:ai:agent"


def trust(tenant: Any, identity: Identity, **changes: Any) -> None:
    body = {
        "name": "probe",
        "issuer": ISSUER,
        "subject": SUBJECT,
        "audiences": ["api://AzureADTokenExchange"],
    }
    path = f"applications/{identity.application_object_id}/federatedIdentityCredentials"
    assert tenant.graph_admin("POST", path, {**body, **changes}).status == 201


def exchanged(
    tenant: Any, identity: Identity, issuer: str = ISSUER, subject: str = SUBJECT, **more: Any
) -> str:
    assertion = tenant.sandbox.assertion(issuer, subject, **more)
    credential = ClientAssertionCredential(identity.tenant, identity.client_id, lambda: assertion)
    return credential.get_token(SCOPE).token


def reason(caught: pytest.ExceptionInfo[ClientAuthenticationError]) -> str:
    return str(caught.value).split("AADSTS", 1)[1].split(":", 1)[0]


def test_a_secret_gets_a_signed_token_that_names_its_principal(tenant: Any, credential: Any) -> None:
    someone = tenant.principal()
    token = credential(someone).get_token(SCOPE).token
    keys = tenant.sandbox.send(
        "GET", f"https://login.microsoftonline.com/{HOME_TENANT}/discovery/v2.0/keys"
    ).body["keys"]
    key = next(one for one in keys if one["kid"] == jwt.get_unverified_header(token)["kid"])
    claims = jwt.decode(token, jwt.PyJWK(key), ["RS256"], audience=ARM)
    assert (claims["oid"], claims["appid"]) == (someone.object_id, someone.client_id)
    assert claims["tid"] == HOME_TENANT
    assert claims["iss"] == f"https://sts.windows.net/{HOME_TENANT}/"


def test_the_environment_alone_suffices(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in tenant.principal().environment().items():
        monkeypatch.setenv(name, value)
    assert EnvironmentCredential().get_token(SCOPE).token
    assert DefaultAzureCredential().get_token(SCOPE).token


def test_a_wrong_secret_is_refused(tenant: Any) -> None:
    someone = tenant.principal()
    with pytest.raises(ClientAuthenticationError) as caught:
        ClientSecretCredential(someone.tenant, someone.client_id, "wrong").get_token(SCOPE)
    assert reason(caught) == "7000215"


def test_a_removed_secret_is_refused(tenant: Any, credential: Any) -> None:
    someone = tenant.principal()
    path = f"applications/{someone.application_object_id}"
    key = tenant.graph_admin("GET", path).body["passwordCredentials"][0]["keyId"]
    assert tenant.graph_admin("POST", f"{path}/removePassword", {"keyId": key}).status == 204
    with pytest.raises(ClientAuthenticationError) as caught:
        credential(someone).get_token(SCOPE)
    assert reason(caught) == "7000215"


def test_an_ended_secret_is_refused(tenant: Any, credential: Any) -> None:
    someone = tenant.principal()
    tenant.sandbox.advance(200 * 86400)
    with pytest.raises(ClientAuthenticationError) as caught:
        credential(someone).get_token(SCOPE)
    assert reason(caught) == "7000215"


def test_an_unknown_application_or_tenant_is_refused(tenant: Any) -> None:
    unknown = "00000000-0000-4000-8000-00000000dead"
    with pytest.raises(ClientAuthenticationError) as caught:
        ClientSecretCredential(HOME_TENANT, unknown, "x").get_token(SCOPE)
    assert reason(caught) == "700016"
    answer = tenant.sandbox.send(
        "POST", f"https://login.microsoftonline.com/{unknown}/oauth2/v2.0/token", b"grant_type=x"
    )
    assert (answer.status, answer.body["error_codes"]) == (400, [90002])


def test_errors_have_the_documented_shape(tenant: Any) -> None:
    who = f"client_id={tenant.principal().client_id}&client_secret=no"
    form = f"grant_type=client_credentials&{who}&scope={SCOPE}"
    url = f"https://login.microsoftonline.com/{HOME_TENANT}/oauth2/v2.0/token"
    answer = tenant.sandbox.send("POST", url, form.encode())
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert answer.body["error_description"].startswith("AADSTS7000215: ")
    names = {
        "error",
        "error_description",
        "error_codes",
        "timestamp",
        "trace_id",
        "correlation_id",
        "error_uri",
    }
    assert set(answer.body) == names


def test_a_token_for_nobody_is_refused(tenant: Any, credential: Any) -> None:
    with pytest.raises(ClientAuthenticationError) as caught:
        credential(tenant.principal()).get_token("https://unknown.example/.default")
    assert reason(caught) == "500011"


@pytest.mark.parametrize("how", [{"accountEnabled": False}, {"isDisabled": True}])
def test_a_disabled_principal_gets_no_token_but_keeps_those_it_has(
    tenant: Any, credential: Any, how: dict[str, bool]
) -> None:
    someone = tenant.principal("Reader")
    issued = credential(someone).get_token(SCOPE).token
    assert tenant.graph_admin("PATCH", f"servicePrincipals/{someone.object_id}", how).status == 204
    with pytest.raises(ClientAuthenticationError) as caught:
        credential(someone).get_token(SCOPE)
    assert reason(caught) == "7000112"
    assert tenant.call(issued, "GET", tenant.subscription, "2022-12-01").status == 200


def test_a_deactivated_application_gets_no_token(tenant: Any, credential: Any) -> None:
    someone = tenant.principal()
    tenant.graph_admin("PATCH", f"applications/{someone.application_object_id}", {"isDisabled": True})
    with pytest.raises(ClientAuthenticationError) as caught:
        credential(someone).get_token(SCOPE)
    assert reason(caught) == "7000112"


def test_a_re_enabled_principal_gets_tokens_again(tenant: Any, credential: Any) -> None:
    someone = tenant.principal()
    for enabled in (False, True):
        tenant.graph_admin("PATCH", f"servicePrincipals/{someone.object_id}", {"accountEnabled": enabled})
    assert credential(someone).get_token(SCOPE).token


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("nonsense", "InvalidAuthenticationToken"),
        (jwt.encode({"oid": "x"}, "k" * 32, "HS256"), "InvalidAuthenticationToken"),
    ],
)
def test_tokens_nobody_signed_are_refused(tenant: Any, token: str, expected: str) -> None:
    answer = tenant.call(token, "GET", tenant.subscription, "2022-12-01")
    assert (answer.status, answer.body["error"]["code"]) == (401, expected)


def test_a_call_without_a_token_is_challenged(sandbox: AzureSandbox) -> None:
    answer = sandbox.send("GET", f"{ARM}/subscriptions?api-version=2022-12-01")
    assert (answer.status, answer.body["error"]["code"]) == (401, "AuthenticationFailed")
    assert answer.headers["www-authenticate"].startswith("Bearer authorization")


def test_a_token_of_another_audience_is_refused(tenant: Any) -> None:
    graph = tenant.sandbox.admin_token(audience="https://graph.microsoft.com")
    answer = tenant.call(graph, "GET", tenant.subscription, "2022-12-01")
    assert (answer.status, answer.body["error"]["code"]) == (401, "InvalidAuthenticationTokenAudience")
    arm = tenant.sandbox.admin_token()
    assert tenant.graph(arm, "GET", "servicePrincipals").status == 401


def test_an_ended_token_is_refused(tenant: Any) -> None:
    someone = tenant.principal("Reader")
    token = tenant.sandbox.mint(someone.object_id, lifetime_seconds=60)
    tenant.sandbox.advance(61)
    answer = tenant.call(token, "GET", tenant.subscription, "2022-12-01")
    assert (answer.status, answer.body["error"]["code"]) == (401, "ExpiredAuthenticationToken")


def test_a_token_of_another_tenant_is_refused(tenant: Any) -> None:
    other = tenant.sandbox.create_tenant()
    stranger = tenant.sandbox.create_principal("stranger", tenant=other)
    answer = tenant.call(stranger, "GET", tenant.subscription, "2022-12-01")
    assert (answer.status, answer.body["error"]["code"]) == (401, "InvalidAuthenticationTokenTenant")


def test_a_trusted_assertion_gets_a_token(tenant: Any, tmp_path: Path) -> None:
    someone = tenant.principal()
    trust(tenant, someone)
    assert exchanged(tenant, someone)
    file = tmp_path / "token"
    file.write_text(tenant.sandbox.assertion(ISSUER, SUBJECT), encoding="utf-8")
    credential = WorkloadIdentityCredential(
        tenant_id=someone.tenant, client_id=someone.client_id, token_file_path=str(file)
    )
    assert credential.get_token(SCOPE).token


@pytest.mark.parametrize(
    ("presented", "expected"),
    [
        ({"issuer": "https://oidc.example/other"}, "700211"),
        ({"subject": "system:serviceaccount:ai:other"}, "700213"),
        ({"subject": SUBJECT.upper()}, "700213"),
        ({"audience": "api://other"}, "700212"),
        ({"lifetime_seconds": -1}, "700024"),
    ],
)
def test_assertions_that_do_not_match_are_refused(
    tenant: Any, presented: dict[str, Any], expected: str
) -> None:
    someone = tenant.principal()
    trust(tenant, someone)
    with pytest.raises(ClientAuthenticationError) as caught:
        exchanged(tenant, someone, **presented)
    assert reason(caught) == expected


def test_an_assertion_signed_by_somebody_else_is_refused(tenant: Any) -> None:
    someone = tenant.principal()
    trust(tenant, someone)
    key = rsa.generate_private_key(65537, 2048)
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": "api://AzureADTokenExchange", "exp": 9_999_999_999}
    forged = jwt.encode(claims, key, "RS256")
    with pytest.raises(ClientAuthenticationError) as caught:
        ClientAssertionCredential(someone.tenant, someone.client_id, lambda: forged).get_token(SCOPE)
    assert reason(caught) == "50013"


def test_no_federated_credential_no_exchange(tenant: Any) -> None:
    someone = tenant.principal()
    trust(tenant, someone)
    path = f"applications/{someone.application_object_id}/federatedIdentityCredentials"
    assert exchanged(tenant, someone)
    assert tenant.graph_admin("DELETE", f"{path}/probe").status == 204
    with pytest.raises(ClientAuthenticationError) as caught:
        exchanged(tenant, someone)
    assert reason(caught) == "70021"


def test_a_registered_certificate_gets_a_token_and_another_does_not(tenant: Any) -> None:
    someone = tenant.principal()
    pem, der = certificate()
    own = CertificateCredential(someone.tenant, someone.client_id, certificate_data=pem)
    with pytest.raises(ClientAuthenticationError) as caught:
        own.get_token(SCOPE)
    assert reason(caught) == "700027"
    key = {"type": "AsymmetricX509Cert", "usage": "Verify", "key": base64.b64encode(der).decode()}
    path = f"applications/{someone.application_object_id}"
    assert tenant.graph_admin("PATCH", path, {"keyCredentials": [key]}).status == 204
    assert own.get_token(SCOPE).token


def certificate() -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + made.public_bytes(serialization.Encoding.PEM), made.public_bytes(
        serialization.Encoding.DER
    )
