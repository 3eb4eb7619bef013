"""Identities of a compromised workload, made in the sandbox by its administrator, and measures on them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from firebreak.measure import measure
from firebreak.model import JsonObject, Workload
from providers.azure.session import AzureMeasure
from tests.providers.driving import OneIdentity

REGION = "westeurope"
TENANT = "f1aeb1a0-0000-4000-8000-00000000aaaa"
SUBSCRIPTION = "/subscriptions/f1aeb1a0-0000-4000-8000-000000000001"
ISSUER, SUBJECT = "https://workers.example", "system:serviceaccount:firebreak:worker"
EXCHANGE = ["api://AzureADTokenExchange"]
ARM_URL, GRAPH_URL = "https://management.azure.com", "https://graph.microsoft.com"
IDENTITY_VERSION, AUTHORIZATION, GROUPS = "2024-11-30", "2022-04-01", "2021-04-01"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
BLOB_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"


class Step(OneIdentity):
    """One measure on one identity."""

    measure: AzureMeasure

    def __init__(
        self, world: Any, name: str, resource: JsonObject, *, workload: str = "agent", **more: Any
    ) -> None:
        made = world.workload(identities=(resource,), id=workload, **more)
        self.context = world.context(made)
        self.measure = cast("AzureMeasure", measure(name)(self.context))
        (declared,) = self.measure.applies_to(made)
        (self.target,) = self.measure.discover(declared)

    @property
    def workload(self) -> Workload:
        return self.measure.run.workload

    def observed(self) -> JsonObject:
        """What is there now, without the record of an attempt."""
        return {name: value for name, value in self.snapshot().values.items() if name != "control"}

    def text(self, *parts: Any) -> str:
        """Everything that is recorded."""
        return "".join(each.model_dump_json() for each in parts)


@dataclass
class Estate:
    """The administrator's hand in the workload's subscription."""

    world: Any

    def group(self) -> str:
        return str(self.world.group())

    def managed(self, *, federated: bool = True, **more: Any) -> JsonObject:
        """A user-assigned identity that reads its resource group; Firebreak may become it."""
        group = self.group()
        ref = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/agent-{uuid4().hex[:8]}"
        made = self.world.admin().put(ref, {"location": REGION}, IDENTITY_VERSION)["properties"]
        if federated:
            self.trust(ref, "firebreak-probe", SUBJECT, issuer=ISSUER)
        self.assign(group, made["principalId"])
        return {
            "kind": "managed-identity",
            "ref": ref,
            "principal_id": made["principalId"],
            "client_id": made["clientId"],
            "tenant_id": TENANT,
            "probes": [self.probe(group)],
            **more,
        }

    def service(self, *, secret: bool = True, **more: Any) -> JsonObject:
        """An application with a secret in a vault, which reads its resource group."""
        group, made = self.group(), self.world.principal(f"agent-{uuid4().hex[:8]}")
        self.assign(group, made.object_id)
        self.trust_application(made.application_object_id, "firebreak-probe", SUBJECT, issuer=ISSUER)
        own = {"credential_secret": self.keep(group, made.client_secret)} if secret else {}
        return {
            "kind": "service-principal",
            "ref": made.object_id,
            "client_id": made.client_id,
            "tenant_id": TENANT,
            "application_object_id": made.application_object_id,
            "probes": [self.probe(group)],
            **own,
            **more,
        }

    def keep(self, group: str, text: str) -> str:
        """Put a secret into a new vault; its ARM id."""
        name = f"kv-{uuid4().hex[:12]}"
        vault = f"{group}/providers/Microsoft.KeyVault/vaults/{name}"
        properties = {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}}
        body = {"location": REGION, "properties": {**properties, "enableRbacAuthorization": True}}
        self.world.admin().put(vault, body, "2023-07-01")
        self.world.grant(self.world.responder, "Key Vault Secrets User", vault)
        data = self.world.admin_data(f"https://{name}.vault.azure.net", "https://vault.azure.net")
        data.request("PUT", "secrets/agent", query={"api-version": "7.4"}, json={"value": text})
        return f"{vault}/secrets/agent"

    def probe(self, group: str) -> JsonObject:
        return {"url": f"{ARM_URL}{group}?api-version={GROUPS}"}

    def trust(self, ref: str, name: str, subject: str, *, issuer: str = "https://oidc.example") -> None:
        properties = {"issuer": issuer, "subject": subject, "audiences": EXCHANGE}
        self.world.admin().put(
            f"{ref}/federatedIdentityCredentials/{name}", {"properties": properties}, IDENTITY_VERSION
        )

    def trust_application(self, application: str, name: str, subject: str, *, issuer: str) -> None:
        """Trust one subject, and nobody else any more."""
        path, graph = f"/applications/{application}/federatedIdentityCredentials", self.world.admin_graph()
        for each in list(graph.pages(path)):
            graph.delete(f"{path}/{each['id']}")
        graph.post(path, {"name": name, "issuer": issuer, "subject": subject, "audiences": EXCHANGE})

    def assign(self, scope: str, principal: str, role: str = READER, **more: Any) -> str:
        """Assign a role, with whatever fields; the assignment's id."""
        properties = {
            "roleDefinitionId": f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role}",
            "principalId": principal,
            **more,
        }
        ref = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid4()}"
        self.world.admin().put(ref, {"properties": properties}, AUTHORIZATION)
        return ref

    def assignment(self, ref: str) -> JsonObject | None:
        found: JsonObject | None = self.world.admin().get(ref, AUTHORIZATION)
        return found

    def timed(self, scope: str, principal: str, *, hours: int = 8) -> None:
        """A role for some hours, by Privileged Identity Management."""
        end = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        role = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{BLOB_READER}"
        properties = {
            "principalId": principal,
            "roleDefinitionId": role,
            "requestType": "AdminAssign",
            "scheduleInfo": {"expiration": {"type": "AfterDateTime", "endDateTime": end}},
        }
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignmentScheduleRequests/{uuid4()}"
        self.world.admin().request(
            "PUT", path, query={"api-version": "2020-10-01"}, json={"properties": properties}
        )

    def lock(self, scope: str) -> str:
        ref = f"{scope}/providers/Microsoft.Authorization/locks/keep-{uuid4().hex[:6]}"
        self.world.admin().put(ref, {"properties": {"level": "CanNotDelete"}}, "2020-05-01")
        return ref

    def directory(self, path: str) -> JsonObject:
        found: JsonObject = self.world.admin_graph().get(path)
        return found

    def ai_account(self, **more: Any) -> JsonObject:
        group, name = self.group(), f"ai-{uuid4().hex[:10]}"
        ref = f"{group}/providers/Microsoft.CognitiveServices/accounts/{name}"
        body = {"location": REGION, "kind": "OpenAI", "sku": {"name": "S0"}, "properties": {}}
        self.world.admin().put(ref, body, "2024-10-01")
        return {"kind": "ai-account", "ref": ref, **more}

    def keys(self, ref: str) -> JsonObject:
        found: JsonObject = self.world.admin().post(f"{ref}/listKeys", None, "2024-10-01")
        return found

    def as_identity(self, resource: JsonObject) -> httpx.Response:
        """What the workload itself gets, with a token that was issued whenever."""
        principal = resource.get("principal_id") or resource["ref"]
        token = self.world.sandbox.mint(principal)
        return self.ask(resource["probes"][0]["url"], {"Authorization": f"Bearer {token}"})

    def ask(self, url: str, headers: dict[str, str]) -> httpx.Response:
        return httpx.get(url, headers=headers)


def group_of(resource: JsonObject) -> str:
    """The resource group that an identity of the estate reads."""
    return str(resource["probes"][0]["url"]).removeprefix(ARM_URL).partition("?")[0]


def certificate() -> JsonObject:
    """A self-signed certificate as an application's key credential: its public part alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent")])
    start, end = datetime.now(UTC), datetime.now(UTC) + timedelta(days=30)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return {
        "keyId": str(uuid4()),
        "displayName": "CN=agent",
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "startDateTime": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "endDateTime": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "key": base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode(),
    }
