"""Evidence sources in the workload's subscription, for tests of what preserves them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob import BlobServiceClient

from drills.sandbox.azure.client import AzureSandbox
from firebreak.measure import Context, measure
from firebreak.model import Workload
from providers.azure.permissions import documents, missing
from providers.azure.session import AzureAccess
from tests.drills.sandbox.azure.places import Bearer, Places
from tests.providers.capturing import Step, WorkerKilledError


class Ground:
    """The workload's subscription; its responder holds exactly what the measure prints."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.places = Places.new(world.sandbox)
        self.sandbox: AzureSandbox = world.sandbox

    def workload(self, **groups: Any) -> Workload:
        made: Workload = self.world.workload(**groups)
        return made

    def exactly(self, workload: Workload, *names: str) -> Workload:
        bound: Workload = self.world.least(workload, *names)
        needs = [(measure(name), target) for name in names for target in measure(name).applies_to(workload)]
        printed = documents(needs, [workload], self.world.settings)["responder"]["cosmos"]
        holder = self.holder(bound)
        for role in printed:
            self.assign(role, holder)
        assert missing(AzureAccess(self.world.run(bound), self.world.settings), needs) == ()
        return bound

    def holder(self, workload: Workload) -> str:
        found = self.world.admin_graph().find(f"servicePrincipals(appId='{workload.access['client_id']}')")
        return str(found["id"])

    def assign(self, role: Any, holder: str) -> None:
        definition = role["definition"]
        own = {
            "roleName": definition["RoleName"],
            "permissions": [{"dataActions": each["DataActions"]} for each in definition["Permissions"]],
        }
        name = str(uuid4())
        self.places.put(f"{role['account']}/sqlRoleDefinitions/{name}", "2024-05-15", {"properties": own})
        for place in role["assign_at"]:
            self.places.cosmos_role(role["account"], holder, name, f"{role['account']}{place}")

    def context(self, workload: Workload) -> Context[AzureAccess]:
        made: Context[AzureAccess] = self.world.context(workload)
        return made

    def logs(self, table: str, rows: Any = ()) -> dict[str, Any]:
        """A declared workspace with one table."""
        place, own = self.places.workspace(**({table: rows} if not table.startswith("Firebreak_") else {}))
        return {"kind": "log-analytics", "ref": place, "workspace_id": own, "tables": (table,)}

    def container(self, bodies: dict[str, bytes], name: str = "memory") -> str:
        """A container with blobs, in an account of its own."""
        account = f"mem{uuid4().hex[:12]}"
        sku = {"sku": {"name": "Standard_LRS"}, "kind": "StorageV2", "properties": {}}
        place = self.places.put(f"Microsoft.Storage/storageAccounts/{account}", "2025-06-01", sku)["id"]
        client = BlobServiceClient(f"https://{account}.blob.core.windows.net", Bearer(self.sandbox))
        blobs = client.create_container(name)
        for key, body in bodies.items():
            blobs.upload_blob(key, body)
        return f"{place}/blobServices/default/containers/{name}"


def killed_at(step: Step, report: int) -> None:
    """Apply until the process ends right behind its nth report."""
    seen = 0

    def kill(_: dict[str, Any]) -> None:
        nonlocal seen
        seen += 1
        if seen == report:
            raise WorkerKilledError

    with pytest.raises(WorkerKilledError):
        step.attempt(kill).apply(step.target, step.state)
