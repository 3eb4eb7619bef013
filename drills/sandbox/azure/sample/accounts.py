"""Create Firebreak's own place in the tenant: responder, evidence keeper, evidence store and keys.

Firebreak holds no secret: its worker has a federated token of its own, which its applications trust
(Microsoft Entra, "Workload identity federation").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, HOME_TENANT
from drills.sandbox.azure.sample.admin import Admin, Call

if TYPE_CHECKING:
    from drills.sandbox.azure.client import AzureSandbox, Identity

Json = dict[str, Any]
TENANT = HOME_TENANT
WORKLOAD_ACCOUNT = HOME_SUBSCRIPTION
EVIDENCE_ACCOUNT = "f1aeb1a0-0000-4000-8000-000000000003"
WORKER_ISSUER = "https://oidc.firebreak.example"
WORKER_SUBJECT = "system:serviceaccount:firebreak:azure-worker"
EXCHANGE = ["api://AzureADTokenExchange"]
EVIDENCE_STORE, EVIDENCE_CONTAINER, EVIDENCE_PREFIX = "fbevidence", "evidence", "incidents"
VAULT = "fb-evidence-keys"
# A token that is asked for once must outlive a long session of `firebreak up`.
WORKER_TOKEN_SECONDS = 30 * 86_400.0
STORAGE, VAULTS, VAULT_KEYS = "2025-06-01", "2023-07-01", "7.4"
VAULT_AUDIENCE = "https://vault.azure.net"
GRAPH_PERMISSIONS = (
    "AppRoleAssignment.ReadWrite.All",
    "Application.Read.All",
    "Application.ReadWrite.All",
    "AuditLog.Read.All",
    "DelegatedPermissionGrant.ReadWrite.All",
    "Directory.Read.All",
    "Group.Read.All",
    "GroupMember.Read.All",
    "GroupMember.ReadWrite.All",
    "User.ReadWrite.All",
    "User.RevokeSessions.All",
)
"""Broad, as the responder's roles are; attach_responder_roles leaves it only what was printed."""


@dataclass(frozen=True)
class Accounts:
    """Administrators of both subscriptions, and what Firebreak itself needs to know of them."""

    workload: Admin
    evidence: Admin
    responder: Identity
    keeper: Identity
    evidence_store: str
    account_id: str
    vault_id: str
    keys: Json
    """Key Vault keys by use: signing, drills, sealing."""
    worker_token: str = field(repr=False)


def create_accounts(sandbox: AzureSandbox) -> Accounts:
    """Create Firebreak's principals and its evidence store."""
    sandbox.create_subscription(subscription=EVIDENCE_ACCOUNT)
    workload, evidence = Admin(sandbox, WORKLOAD_ACCOUNT), Admin(sandbox, EVIDENCE_ACCOUNT)
    # Somebody else owns the subscriptions: their last administrator could not be removed.
    owner = sandbox.create_user("platform-owner")
    for admin in (workload, evidence):
        admin.assign(owner, "Owner", admin.scope)
    responder = _application(workload, "firebreak-responder", GRAPH_PERMISSIONS)
    _grant_everything(workload, responder, workload.scope)
    keeper = _application(evidence, "firebreak-evidence", ())
    group = evidence.group("rg-firebreak-evidence")
    _grant_everything(evidence, keeper, group)
    account_id = _store(evidence, group)
    vault_id = _vault(evidence, group)
    return Accounts(
        workload=workload,
        evidence=evidence,
        responder=responder,
        keeper=keeper,
        evidence_store=(
            f"https://{EVIDENCE_STORE}.blob.core.windows.net/{EVIDENCE_CONTAINER}/{EVIDENCE_PREFIX}"
        ),
        account_id=account_id,
        vault_id=vault_id,
        keys={
            "signing": _key(evidence, "signing", kty="EC", crv="P-256"),
            "drills": _key(evidence, "drills", kty="EC", crv="P-256"),
            "sealing": _key(evidence, "sealing", kty="RSA", key_size=2048),
        },
        worker_token=sandbox.assertion(WORKER_ISSUER, WORKER_SUBJECT, lifetime_seconds=WORKER_TOKEN_SECONDS),
    )


def _application(admin: Admin, name: str, graph: tuple[str, ...]) -> Identity:
    made = admin.sandbox.create_principal(name, graph=graph)
    trust = {
        "name": "worker",
        "issuer": WORKER_ISSUER,
        "subject": WORKER_SUBJECT,
        "audiences": EXCHANGE,
    }
    admin.graph("POST", f"/applications/{made.application_object_id}/federatedIdentityCredentials", trust)
    return made


def _grant_everything(admin: Admin, to: Identity, scope: str) -> None:
    admin.assign(to.object_id, "Owner", scope)
    role = admin.define_role(f"every data action for {to.client_id}", scope, data=("*",))
    admin.assign(to.object_id, role, scope)


def _store(admin: Admin, group: str) -> str:
    ref = f"{group}/providers/Microsoft.Storage/storageAccounts/{EVIDENCE_STORE}"
    properties = {"allowSharedKeyAccess": False, "allowBlobPublicAccess": False}
    admin.resource(ref, STORAGE, properties, kind="StorageV2", sku={"name": "Standard_ZRS"})
    admin.put(f"{ref}/blobServices/default", {"properties": {"isVersioningEnabled": True}}, STORAGE)
    worm = {"immutableStorageWithVersioning": {"enabled": True}}
    container = f"{ref}/blobServices/default/containers/{EVIDENCE_CONTAINER}"
    admin.put(container, {"properties": worm}, STORAGE)
    return ref


def _vault(admin: Admin, group: str) -> str:
    ref = f"{group}/providers/Microsoft.KeyVault/vaults/{VAULT}"
    create_vault(admin, ref)
    return ref


def create_vault(admin: Admin, ref: str) -> None:
    """Make a vault whose contents are reached by roles."""
    sku = {"family": "A", "name": "standard"}
    admin.resource(ref, VAULTS, {"tenantId": TENANT, "sku": sku, "enableRbacAuthorization": True})


def keep_secret(admin: Admin, vault: str, name: str, value: str) -> str:
    """Put a secret into a vault (ARM id); returns the secret's ARM id."""
    url = f"https://{vault.rsplit('/', 1)[-1]}.vault.azure.net/secrets/{name}?api-version={VAULT_KEYS}"
    admin.call(Call("PUT", url, audience=VAULT_AUDIENCE, json={"value": value}))
    return f"{vault}/secrets/{name}"


def _key(admin: Admin, name: str, **wanted: Any) -> str:
    url = f"https://{VAULT}.vault.azure.net/keys/{name}/create?api-version={VAULT_KEYS}"
    answer = admin.call(Call("POST", url, audience=VAULT_AUDIENCE, json=wanted))
    return f"azurekms:{answer.json()['key']['kid']}"
