"""Resources that tests of evidence need in an Azure sandbox, made by its administrator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from azure.core.credentials import AccessToken

from drills.sandbox.azure.client import HOME_SUBSCRIPTION, AzureSandbox, Identity

LOCATION = "westeurope"
READER = "00000000-0000-0000-0000-000000000001"
CONTRIBUTOR = "00000000-0000-0000-0000-000000000002"


@dataclass(frozen=True)
class Bearer:
    """A token credential that the sandbox mints for one principal, or for its administrator."""

    sandbox: AzureSandbox
    principal: str = ""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        audience = scopes[0].removesuffix("/.default")
        if self.principal:
            return AccessToken(self.sandbox.mint(self.principal, audience), 2_000_000_000)
        return AccessToken(self.sandbox.admin_token(audience=audience), 2_000_000_000)


@dataclass(frozen=True)
class Places:
    """A resource group of its own."""

    sandbox: AzureSandbox
    group: str

    @classmethod
    def new(cls, sandbox: AzureSandbox) -> Places:
        group = f"/subscriptions/{HOME_SUBSCRIPTION}/resourceGroups/rg-{uuid4().hex[:8]}"
        sandbox.arm("PUT", group, "2021-04-01", {"location": LOCATION})
        return cls(sandbox, group)

    def put(self, path: str, version: str, body: dict[str, Any] | None = None) -> Any:
        place = path if path.startswith("/") else f"{self.group}/providers/{path}"
        return self.sandbox.arm("PUT", place, version, {"location": LOCATION, **(body or {})})

    def identity(self, *roles: tuple[str, str]) -> Identity:
        """A principal with roles at scopes."""
        made = self.sandbox.create_principal(f"p-{uuid4().hex[:8]}")
        for role, scope in roles:
            self.sandbox.grant(made.object_id, role, scope)
        return made

    def workspace(self, **tables: Iterable[dict[str, Any]]) -> tuple[str, str]:
        """A Log Analytics workspace with records; its ARM id and its own id."""
        name = f"w-{uuid4().hex[:8]}"
        made = self.put(f"Microsoft.OperationalInsights/workspaces/{name}", "2023-09-01")
        for table, rows in tables.items():
            body = {"workspace": made["id"], "table": table, "rows": list(rows)}
            self.sandbox.request("POST", "/logs/append", body)
        return made["id"], made["properties"]["customerId"]

    def sentinel(self) -> str:
        """A workspace that Sentinel is enabled on."""
        workspace, _ = self.workspace()
        state = f"{workspace}/providers/Microsoft.SecurityInsights/onboardingStates/default"
        self.put(state, "2024-09-01", {"properties": {}})
        return workspace

    def cosmos(self) -> str:
        """A Cosmos DB container, keyed by ``/session``."""
        account = f"Microsoft.DocumentDB/databaseAccounts/cosmos-{uuid4().hex[:8]}"
        self.put(account, "2024-05-15", {"properties": {"disableLocalAuth": True}})
        database = f"{account}/sqlDatabases/agent"
        self.put(database, "2024-05-15", {"properties": {"resource": {"id": "agent"}}})
        resource = {"id": "memory", "partitionKey": {"paths": ["/session"], "kind": "Hash"}}
        made = self.put(f"{database}/containers/memory", "2024-05-15", {"properties": {"resource": resource}})
        return str(made["id"])

    def cosmos_role(self, container: str, principal: str, role: str = READER, scope: str = "") -> str:
        """Let a principal reach the data of an account, or of a part of it."""
        account = container.partition("/sqlDatabases/")[0]
        definition = f"{account}/sqlRoleDefinitions/{role}"
        body = {"roleDefinitionId": definition, "principalId": principal, "scope": scope or account}
        place = f"{account}/sqlRoleAssignments/{uuid4()}"
        return str(self.put(place, "2024-05-15", {"properties": body})["id"])

    def machine(self, *disks: str) -> tuple[str, list[str]]:
        """A virtual machine and its disks: the first holds the system."""
        made = [
            self.put(f"Microsoft.Compute/disks/{name}-{uuid4().hex[:8]}", "2024-03-02", {"properties": {}})[
                "id"
            ]
            for name in disks
        ]
        managed = [{"managedDisk": {"id": each}, "lun": lun} for lun, each in enumerate(made)]
        profile: dict[str, Any] = {"dataDisks": managed[1:]}
        if managed:
            profile["osDisk"] = managed[0]
        name = f"Microsoft.Compute/virtualMachines/vm-{uuid4().hex[:8]}"
        machine = self.put(name, "2024-07-01", {"properties": {"storageProfile": profile}})
        return machine["id"], made

    def namespace(self) -> str:
        """A Service Bus namespace."""
        name = f"Microsoft.ServiceBus/namespaces/bus-{uuid4().hex[:8]}"
        return str(self.put(name, "2024-01-01", {"sku": {"name": "Standard"}, "properties": {}})["id"])

    def queue(self, namespace: str, **properties: Any) -> str:
        """A queue."""
        place = f"{namespace}/queues/q-{uuid4().hex[:8]}"
        return str(self.put(place, "2024-01-01", {"properties": properties})["id"])
