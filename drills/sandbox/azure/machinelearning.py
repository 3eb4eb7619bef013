"""Play Azure Machine Learning's registry of models.

An archived version is left out of listings of active versions; it can still be read, deployed and deleted.

Source: Azure Machine Learning REST API, "Model Versions", "Registry Model Versions", "Online Deployments";
"Manage registered models": archiving hides a model from list queries.
"""

from __future__ import annotations

from drills.sandbox.azure import paging
from drills.sandbox.azure.call import Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation

VERSIONS = ("2024-04-01", "2024-10-01", "2025-06-01", "2025-09-01")
SOURCE = "Azure Machine Learning REST API, Model Versions"
PROVIDER = "Microsoft.MachineLearningServices"
_FIXED = ("modelUri", "modelType", "flavors", "jobName")
_VIEWS = {"activeonly": (False,), "archivedonly": (True,), "all": (False, True)}


def _version_put(_call: Call, item: Item, before: Item | None) -> None:
    """What a version is made of stays as it was made."""
    if before is None:
        return
    changed = [name for name in _FIXED if item.properties.get(name) != before.properties.get(name)]
    if changed:
        message = f"A model version's {changed[0]} is immutable; create a new version."
        raise ArmError(400, "UserError", message)


def _version_view(item: Item) -> JsonObject:
    document = item.document()
    document["properties"] = {
        "isArchived": False,
        "isAnonymous": False,
        "provisioningState": "Succeeded",
        "tags": {},
        "properties": {},
        **document.get("properties", {}),
    }
    return document


def _deployment_put(_call: Call, item: Item, _before: Item | None) -> None:
    """A deployment of a model needs the version to be there; that it is archived does not matter."""
    model = str(item.properties.get("model", ""))
    if model.startswith("/subscriptions/"):
        store.need(model)


for _place in ("workspaces", "registries"):
    resource_type(f"{PROVIDER}/{_place}", versions=VERSIONS, source=SOURCE)
    resource_type(f"{PROVIDER}/{_place}/models", versions=VERSIONS, source=SOURCE)
    resource_type(
        f"{PROVIDER}/{_place}/models/versions",
        versions=VERSIONS,
        source=SOURCE,
        on_put=_version_put,
        view=_version_view,
    )
resource_type(f"{PROVIDER}/workspaces/datastores", versions=VERSIONS, source=SOURCE)
resource_type(f"{PROVIDER}/workspaces/onlineEndpoints", versions=VERSIONS, source=SOURCE)
resource_type(
    f"{PROVIDER}/workspaces/onlineEndpoints/deployments",
    versions=VERSIONS,
    source=SOURCE,
    on_put=_deployment_put,
)


def _listed(call: Call) -> JsonObject:
    """List the versions of a model that are active, archived, or either."""
    wanted = _VIEWS.get(call.query["listViewType"].lower())
    if wanted is None:
        raise ArmError(400, "UserError", f"Unknown listViewType {call.query['listViewType']}.")
    model = call.path.rstrip("/").rpartition("/")[0]
    kind = f"{PROVIDER}/{'workspaces' if '/workspaces/' in model.lower() else 'registries'}/models/versions"
    documents = [_version_view(item) for item in store.list(model, kind)]
    return paging.page(call, [each for each in documents if each["properties"]["isArchived"] in wanted])


for _place in ("workspaces", "registries"):
    operation(
        "arm",
        "GET",
        "/subscriptions/{subscription}/resourceGroups/{group}/providers"
        f"/{PROVIDER}/{_place}/{{place}}/models/{{model}}/versions",
        versions=VERSIONS,
        action=f"{PROVIDER}/{_place}/models/versions/read",
        query={"listViewType": None},
        source=SOURCE,
    )(_listed)
