"""Create the sample agent's identities, its peer and its accomplice, with all that gives them rights."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from drills.sandbox.azure.sample.accounts import (
    EXCHANGE,
    TENANT,
    WORKER_ISSUER,
    WORKER_SUBJECT,
    create_vault,
    keep_secret,
)
from drills.sandbox.azure.sample.admin import AUTHORIZATION_VERSION, PIM_VERSION
from drills.sandbox.azure.sample.artifacts import COSMOS_CONTRIBUTOR, give_cosmos_role

if TYPE_CHECKING:
    from drills.sandbox.azure.sample.admin import Admin
    from drills.sandbox.azure.sample.artifacts import Artifacts

Json = dict[str, Any]
CLUSTER_ISSUER = "https://oidc.agents.example"
CLUSTER_SUBJECT = "system:serviceaccount:agents:claims"
IDENTITIES_VERSION = "2024-11-30"
DATA_SCIENTIST = "f6c7c914-8db3-469d-8ca1-694a8f32e121"
BLOBS, ACR_PUSH, ACR_DELETE = "Storage Blob Data Contributor", "AcrPush", "AcrDelete"
BUS_SENDER, OPENAI_USER = "Azure Service Bus Data Sender", "Cognitive Services OpenAI User"
GRID_SENDER = "sample event sender"
PIM_HOURS = 8
ASSERTION_SECONDS = 7 * 86_400.0


@dataclass(frozen=True)
class Managed:
    """A user-assigned managed identity."""

    ref: str
    principal_id: str
    client_id: str


@dataclass(frozen=True)
class Application:
    """An app registration with its service principal, a secret and a certificate."""

    object_id: str
    application_object_id: str
    client_id: str
    client_secret: str = field(repr=False)
    certificate_proof: str = field(repr=False)
    """A client assertion that the certificate's key signed."""
    secret_ref: str
    """Where the secret lies for the live probe: ARM id of a Key Vault secret."""


@dataclass(frozen=True)
class Principals:
    """Everybody who attacks."""

    agent: Managed
    tools: Application
    peer: Managed
    accomplice: Managed
    cluster_token: str = field(repr=False)
    """The agent's own federated token, from the cluster that it also runs on."""


def create_managed(admin: Admin, group: str, name: str) -> Managed:
    """Make a user-assigned identity without rights."""
    ref = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
    made = admin.resource(ref, IDENTITIES_VERSION)["properties"]
    return Managed(ref, made["principalId"], made["clientId"])


def trust(admin: Admin, identity: Managed, name: str, issuer: str, subject: str) -> None:
    """Let an external issuer's subject become the identity."""
    properties = {"issuer": issuer, "subject": subject, "audiences": EXCHANGE}
    ref = f"{identity.ref}/federatedIdentityCredentials/{name}"
    admin.put(ref, {"properties": properties}, IDENTITIES_VERSION)


def trust_probe(admin: Admin, identity: Managed) -> None:
    """Let Firebreak become the identity, for its live probes (set up at onboarding)."""
    trust(admin, identity, "firebreak-probe", WORKER_ISSUER, WORKER_SUBJECT)


def create_principals(admin: Admin, group: str, name: str) -> Principals:
    """Create who attacks; rights come later, where the artifacts are there (see `grant_rights`)."""
    agent = create_managed(admin, group, f"{name}-identity")
    trust(admin, agent, "cluster", CLUSTER_ISSUER, CLUSTER_SUBJECT)
    trust_probe(admin, agent)
    return Principals(
        agent=agent,
        tools=create_application(admin, group, f"{name}-tools"),
        peer=create_managed(admin, group, "planner-agent-identity"),
        accomplice=create_managed(admin, group, "ci-deployer-identity"),
        cluster_token=admin.sandbox.assertion(
            CLUSTER_ISSUER, CLUSTER_SUBJECT, lifetime_seconds=ASSERTION_SECONDS
        ),
    )


def create_application(admin: Admin, group: str, name: str) -> Application:
    """Register an application with a secret, which a vault keeps for the live probe, and a certificate."""
    made = admin.sandbox.create_principal(name)
    vault = f"{group}/providers/Microsoft.KeyVault/vaults/{name}"
    create_vault(admin, vault)
    key, certificate = _certificate(name)
    credential = {
        "keyId": str(uuid4()),
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "displayName": "agent",
        "key": base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode(),
    }
    place = f"/applications/{made.application_object_id}"
    admin.graph("PATCH", place, {"keyCredentials": [credential]})
    return Application(
        object_id=made.object_id,
        application_object_id=made.application_object_id,
        client_id=made.client_id,
        client_secret=made.client_secret,
        certificate_proof=_proof(key, made.client_id),
        secret_ref=keep_secret(admin, vault, "agent-secret", made.client_secret),
    )


def _certificate(name: str) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _proof(key: rsa.RSAPrivateKey, client_id: str) -> str:
    """Sign the assertion of the client credentials flow ("Certificate credentials")."""
    now = time.time()
    audience = f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
    claims = {"iss": client_id, "sub": client_id, "aud": audience, "iat": now, "exp": now + ASSERTION_SECONDS}
    return jwt.encode(claims, key, "RS256")


def grant_rights(admin: Admin, group: str, principals: Principals, artifacts: Artifacts) -> None:
    """Give everybody their rights, on all the ways that Azure has: direct, by group, and for some hours."""
    sender = admin.define_role(GRID_SENDER, group, data=("Microsoft.EventGrid/events/send/action",))
    agent, peer, accomplice = principals.agent, principals.peer, principals.accomplice
    admin.assign(agent.principal_id, "Reader", group)
    admin.assign(agent.principal_id, BLOBS, artifacts.storage_account)
    admin.assign(agent.principal_id, OPENAI_USER, artifacts.ai_account)
    give_cosmos_role(admin, artifacts.cosmos_account, agent.principal_id, COSMOS_CONTRIBUTOR)
    admin.assign(principals.tools.object_id, "Reader", group)
    admin.assign(principals.tools.object_id, BUS_SENDER, artifacts.bus)
    for sending in (agent, peer):
        admin.assign(sending.principal_id, BUS_SENDER, artifacts.bus)
        admin.assign(sending.principal_id, sender, artifacts.grid_topic)
    deployers = admin.sandbox.create_group("agent-deployers", agent.principal_id, accomplice.principal_id)
    for role in (ACR_PUSH, ACR_DELETE):
        admin.assign(deployers, role, artifacts.registry)
    assign_for_hours(admin, agent.principal_id, DATA_SCIENTIST, artifacts.workspace)
    admin.assign(accomplice.principal_id, BLOBS, artifacts.storage_account)
    admin.assign(accomplice.principal_id, DATA_SCIENTIST, artifacts.workspace)


def assign_for_hours(admin: Admin, principal: str, role: str, scope: str) -> None:
    """Give a role for some hours, by Privileged Identity Management."""
    end = datetime.now(UTC) + timedelta(hours=PIM_HOURS)
    properties = {
        "principalId": principal,
        "roleDefinitionId": f"{admin.scope}/providers/Microsoft.Authorization/roleDefinitions/{role}",
        "requestType": "AdminAssign",
        "scheduleInfo": {"expiration": {"type": "AfterDateTime", "endDateTime": f"{end:%Y-%m-%dT%H:%M:%SZ}"}},
    }
    name = uuid5(NAMESPACE_URL, f"{principal} {role} {scope}")
    ref = f"{scope}/providers/Microsoft.Authorization/roleAssignmentScheduleRequests/{name}"
    admin.put(ref, {"properties": properties}, PIM_VERSION)


def assign_with_condition(admin: Admin, principal: str, role: str, scope: str, condition: str) -> str:
    """Give a role under a condition; returns the assignment's id."""
    properties = {
        "roleDefinitionId": f"{admin.scope}/providers/Microsoft.Authorization/roleDefinitions/{role}",
        "principalId": principal,
        "principalType": "ServicePrincipal",
        "condition": condition,
        "conditionVersion": "2.0",
    }
    name = uuid5(NAMESPACE_URL, f"{principal} {role} {scope}")
    ref = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
    admin.put(ref, {"properties": properties}, AUTHORIZATION_VERSION)
    return ref
