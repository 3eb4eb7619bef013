from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from drills.sandbox.azure.client import AzureSandbox, start_sandbox
from firebreak.measure import Context, Progress, measure, now
from firebreak.model import Cloud, JsonObject, Mode, Run, Workload
from firebreak.settings import Settings
from providers.azure.arm import Arm
from providers.azure.graph import Graph
from providers.azure.permissions import documents
from providers.azure.rest import Rest
from providers.azure.session import AzureAccess
from providers.azure.vault import AzureBlobVault

REGION = "westeurope"
TENANT = "f1aeb1a0-0000-4000-8000-00000000aaaa"
WORKLOAD = "f1aeb1a0-0000-4000-8000-000000000001"
EVIDENCE = "f1aeb1a0-0000-4000-8000-000000000002"
ARM_URL, GRAPH_URL = "https://management.azure.com", "https://graph.microsoft.com"
ISSUER, SUBJECT = "https://workers.example", "system:serviceaccount:firebreak:worker"
AUTHORIZATION = "2022-04-01"
GRAPH_PERMISSIONS = [
    *("Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "AuditLog.Read.All"),
    *("Directory.Read.All", "Group.Read.All", "GroupMember.ReadWrite.All", "User.RevokeSessions.All"),
    *("DelegatedPermissionGrant.ReadWrite.All", "User.ReadWrite.All"),
]


@dataclass(frozen=True)
class Principal:
    """An application with its service principal."""

    object_id: str
    client_id: str
    application_object_id: str
    client_secret: str
    tenant_id: str = TENANT


@dataclass
class World:
    """A tenant with two subscriptions: the workload's, and that of the evidence store."""

    sandbox: AzureSandbox
    settings: Settings
    responder: Principal
    keeper: Principal
    account_id: str
    container: str
    folder: Path

    def token(self, audience: str = ARM_URL, *, tenant: str = TENANT) -> str:
        """A token of the administrator, who may do everything."""
        body = {"audience": audience, "tenant": tenant}
        return str(self.sandbox.request("POST", "/admin-token", body)["access_token"])

    def admin(self, *, tenant: str = TENANT) -> Arm:
        return Arm(ARM_URL, lambda: self.token(tenant=tenant))

    def admin_graph(self) -> Graph:
        return Graph(f"{GRAPH_URL}/v1.0", lambda: self.token(GRAPH_URL))

    def admin_data(self, url: str, audience: str) -> Rest:
        return Rest(url, lambda: self.token(audience))

    def principal(self, name: str, *, graph: Iterable[str] = (), tenant: str = TENANT) -> Principal:
        """A new application that the worker's federated token is trusted by."""
        body = {"name": name, "graph": list(graph), "tenant": tenant}
        made = Principal(tenant_id=tenant, **_fields(self.sandbox.request("POST", "/principals", body)))
        path = f"applications/{made.application_object_id}/federatedIdentityCredentials"
        trust = {"name": "worker", "issuer": ISSUER, "subject": SUBJECT}
        graph_of = Graph(f"{GRAPH_URL}/v1.0", lambda: self.token(GRAPH_URL, tenant=tenant))
        graph_of.post(path, {**trust, "audiences": ["api://AzureADTokenExchange"]})
        return made

    def grant(self, principal: Principal, role: str, scope: str) -> None:
        body = {"principal": principal.object_id, "role": role, "scope": scope}
        self.sandbox.request("POST", "/grants", body)

    def assign(self, principal: Principal, roles: Iterable[Mapping[str, Any]]) -> None:
        """Create the custom roles of a document, and assign each where it says."""
        for role in roles:
            for scope in role["assign_at"]:
                _assign(self.admin(), principal, role["definition"], scope)

    def group(self, name: str = "", *, subscription: str = WORKLOAD) -> str:
        """The ARM id of a new resource group."""
        place = f"/subscriptions/{subscription}/resourceGroups/{name or f'rg-{uuid4().hex[:8]}'}"
        self.admin().put(place, {"location": REGION}, "2021-04-01")
        return place

    def vault(self) -> AzureBlobVault:
        return AzureBlobVault.open(self.settings)

    def workload(self, **groups: Any) -> Workload:
        access = {"tenant_id": TENANT, "client_id": self.responder.client_id}
        own = {"id": "agent", "account": WORKLOAD, "region": REGION, "access": access, **groups}
        return Workload.model_validate({"cloud": Cloud.AZURE, **own})

    def least(self, workload: Workload, *names: str, without: str = "") -> Workload:
        """The workload behind an application that holds exactly the printed roles of these measures.

        ``without`` leaves one permission out of them.
        """
        wanted = [measure(name) for name in names]
        needs = [(each, target) for each in wanted for target in each.applies_to(workload)]
        return self.holding(workload, documents(needs, [workload], self.settings)["responder"], without)

    def holding(self, workload: Workload, document: JsonObject, without: str = "") -> Workload:
        """The workload behind a new application that holds the roles of a printed document."""
        graph = [each for each in document.get("graph", ()) if f"graph:{each}" != without]
        holder = self.principal(f"responder-{uuid4().hex[:8]}", graph=graph)
        self.assign(holder, [_without(role, without) for role in document["roles"]])
        access = {**workload.access, "client_id": holder.client_id}
        return workload.model_copy(update={"access": access})

    def run(self, workload: Workload, *, mode: Mode = Mode.LIVE) -> Run:
        return Run(incident_id=f"INC-{uuid4().hex[:8]}", mode=mode, workload=workload, triggered_at=now())

    def access(self, workload: Workload | None = None, *, mode: Mode = Mode.LIVE) -> AzureAccess:
        return AzureAccess(self.run(workload or self.workload(), mode=mode), self.settings)

    def context(
        self, workload: Workload, *, folder: str = "", progress: Progress | None = None
    ) -> Context[AzureAccess]:
        run = self.run(workload)
        return Context(
            run=run,
            access=AzureAccess(run, self.settings),
            vault=self.vault(),
            folder=folder or f"{run.incident_id}/data/phases/4/measure/target",
            progress=progress or Progress(),
        )


def _fields(made: Mapping[str, Any]) -> dict[str, str]:
    names = ("object_id", "client_id", "application_object_id", "client_secret")
    return {name: str(made[name]) for name in names}


def _without(role: Mapping[str, Any], permission: str) -> JsonObject:
    kind, action = (
        ("DataActions", permission.removeprefix("data:"))
        if permission.startswith("data:")
        else ("Actions", permission)
    )
    definition = dict(role["definition"])
    definition[kind] = [each for each in definition[kind] if each != action]
    return {**role, "definition": definition}


def _assign(admin: Arm, principal: Principal, definition: Mapping[str, Any], scope: str) -> None:
    subscription = "/".join(scope.split("/")[:3])
    role = f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{uuid4()}"
    permission = {
        "actions": definition["Actions"],
        "notActions": definition["NotActions"],
        "dataActions": definition["DataActions"],
        "notDataActions": definition["NotDataActions"],
    }
    properties: JsonObject = {
        "roleName": f"{definition['Name']} {uuid4().hex[:8]}",
        "type": "CustomRole",
        "permissions": [permission],
        "assignableScopes": definition["AssignableScopes"],
    }
    admin.put(role, {"properties": properties}, AUTHORIZATION)
    assignment = {
        "roleDefinitionId": role,
        "principalId": principal.object_id,
        "principalType": "ServicePrincipal",
    }
    place = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid4()}"
    admin.put(place, {"properties": assignment}, AUTHORIZATION)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[AzureSandbox]:
    with start_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def world(sandbox: AzureSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Each module has a sandbox to itself, so that none depends on what ran before it."""
    with _world_in(sandbox, tmp_path_factory.mktemp("azure")) as made:
        yield made


@pytest.fixture
def new_world(azure_sandbox: AzureSandbox, tmp_path: Path) -> Iterator[World]:
    """A world at the wall clock's time, for tests that let time pass."""
    with _world_in(azure_sandbox, tmp_path) as made:
        yield made


@contextmanager
def _world_in(sandbox: AzureSandbox, folder: Path) -> Iterator[World]:
    """A new world in an emptied sandbox, which the settings of this process lead to for a block."""
    sandbox.reset()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.environment().items():
            patch.setenv(name, value)
        for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_AUTHORITY_HOST"):
            patch.delenv(name, raising=False)
        patch.setenv("AZURE_TENANT_ID", TENANT)
        patch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(_assertion(sandbox, folder)))
        sandbox.request("POST", "/subscriptions", {"subscription": EVIDENCE, "tenant": TENANT})
        yield _made(sandbox, folder)


def _assertion(sandbox: AzureSandbox, folder: Path) -> Path:
    """The worker's own token, by which Firebreak's applications know it."""
    body = {"issuer": ISSUER, "subject": SUBJECT, "lifetime_seconds": 86_400}
    file = folder / "federated-token"
    file.write_text(sandbox.request("POST", "/federation/assertion", body)["assertion"])
    return file


def _made(sandbox: AzureSandbox, folder: Path) -> World:
    nobody = Principal("", "", "", "")
    bare = World(sandbox, Settings(), nobody, nobody, "", "", folder)
    account, vault = f"evidence{uuid4().hex[:8]}", f"keys-{uuid4().hex[:8]}"
    group = bare.group("rg-evidence", subscription=EVIDENCE)
    account_id = f"{group}/providers/Microsoft.Storage/storageAccounts/{account}"
    _make_store(bare, account_id)
    vault_id = _make_vault(bare, f"{group}/providers/Microsoft.KeyVault/vaults/{vault}")
    bare.responder = bare.principal("firebreak-responder", graph=GRAPH_PERMISSIONS)
    bare.grant(bare.responder, "Owner", f"/subscriptions/{WORKLOAD}")
    bare.keeper = bare.principal("firebreak-evidence")
    access = {"tenant_id": TENANT, "client_id": bare.keeper.client_id}
    bare.settings = Settings.model_validate(
        {
            "evidence_by_cloud": {
                "azure": {
                    "store": f"https://{account}.blob.core.windows.net/evidence/firebreak",
                    "access": {**access, "account_id": account_id, "vault_id": vault_id},
                    "signing_key": f"azurekms:{make_key(bare, vault, 'signing', kty='EC', crv='P-256')}",
                    "drill_signing_key": f"azurekms:{make_key(bare, vault, 'drills', kty='EC', crv='P-256')}",
                    "seal_key": f"azurekms:{make_key(bare, vault, 'sealing', kty='RSA', key_size=2048)}",
                    "retention_days": 1,
                }
            }
        }
    )
    bare.account_id, bare.container = account_id, "evidence"
    bare.assign(bare.keeper, documents([], [], bare.settings)["evidence"]["roles"])
    return bare


def _make_store(world: World, account_id: str) -> None:
    admin, version = world.admin(), "2025-06-01"
    properties = {"allowSharedKeyAccess": False, "allowBlobPublicAccess": False}
    sku = {"name": "Standard_LRS"}
    admin.put(
        account_id,
        {"location": REGION, "kind": "StorageV2", "sku": sku, "properties": properties},
        version,
    )
    admin.put(f"{account_id}/blobServices/default", {"properties": {"isVersioningEnabled": True}}, version)
    worm = {"immutableStorageWithVersioning": {"enabled": True}}
    admin.put(f"{account_id}/blobServices/default/containers/evidence", {"properties": worm}, version)


def _make_vault(world: World, vault_id: str) -> str:
    properties = {
        "tenantId": TENANT,
        "sku": {"family": "A", "name": "standard"},
        "enableRbacAuthorization": True,
    }
    world.admin().put(vault_id, {"location": REGION, "properties": properties}, "2023-07-01")
    return vault_id


def make_key(world: World, vault: str, name: str, **wanted: Any) -> str:
    """The URL of a new Key Vault key."""
    data = world.admin_data(f"https://{vault}.vault.azure.net", "https://vault.azure.net")
    answer = data.request("POST", f"keys/{name}/create", query={"api-version": "7.4"}, json=wanted)
    return str(answer.json()["key"]["kid"])


@pytest.fixture
def fresh() -> Callable[[str], str]:
    """Names that no other test uses."""
    return lambda stem: f"{stem}-{uuid4().hex[:8]}"
