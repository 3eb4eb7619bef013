"""Registries as Azure Resource Manager shows them.

Source: Azure Container Registry resource provider REST API, "Registries".
"""

from __future__ import annotations

from drills.sandbox.azure import ids
from drills.sandbox.azure.call import Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.registry.model import Registry, registries
from drills.sandbox.azure.store import Item

VERSIONS = ("2023-07-01", "2024-11-01", "2025-04-01", "2025-11-01")
SOURCE = "Azure Container Registry resource provider REST API, Registries"


def _put(_call: Call, item: Item, _before: Item | None) -> None:
    name = item.name.lower()
    known = registries.get(name)
    if known is not None and ids.key(known.resource_id) != ids.key(item.id):
        raise ArmError(409, "AlreadyInUse", f"The registry DNS name {name}.azurecr.io is already in use.")
    registry = known or registries.setdefault(name, Registry(name, item.id))
    policies = item.properties.get("policies") or {}
    registry.quarantine = (policies.get("quarantinePolicy") or {}).get("status") == "enabled"


def _delete(_call: Call, item: Item) -> None:
    registries.pop(item.name.lower(), None)


def _view(item: Item) -> JsonObject:
    document = item.document()
    document["properties"] = {
        "provisioningState": "Succeeded",
        "loginServer": f"{item.name.lower()}.azurecr.io",
        "adminUserEnabled": False,
        "publicNetworkAccess": "Enabled",
        "policies": {"quarantinePolicy": {"status": "disabled"}},
        **document.get("properties", {}),
    }
    return document


resource_type(
    "Microsoft.ContainerRegistry/registries",
    versions=VERSIONS,
    source=SOURCE,
    on_put=_put,
    on_delete=_delete,
    view=_view,
)
