"""Plain resources: create, show, list, change and delete, as most ARM types behave; and resource groups.

Source: "Resource API reference" of the Azure resource provider contract.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack, cast

from drills.sandbox.azure import ids, lro, paging
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.store import Item, merged, store
from drills.sandbox.azure.table import operation

GROUP = "/subscriptions/{subscription}/resourceGroups/{group}"
GROUPS = "/subscriptions/{subscription}/resourceGroups"
GROUP_TYPE = "Microsoft.Resources/resourceGroups"
_GROUP_ACTION = "Microsoft.Resources/subscriptions/resourceGroups"
_GROUP_VERSIONS = ("2021-04-01", "2022-09-01", "2024-03-01", "2025-04-01")
_GROUP_SOURCE = "Resource Groups REST"

OnPut = Callable[[Call, Item, Item | None], None]
OnDelete = Callable[[Call, Item], None]
View = Callable[[Item], JsonObject]


class Hooks(TypedDict, total=False):
    """What differs from a plain resource; `on_put` may refuse by ArmError, and nothing is kept then."""

    source: str
    asynchronous: bool
    on_put: OnPut
    on_delete: OnDelete
    view: View
    needs_location: bool
    created_status: int


@dataclass(frozen=True)
class ResourceType:
    """A registered type and how it behaves."""

    name: str
    asynchronous: bool = False
    on_put: OnPut = lambda _call, _item, _before: None
    on_delete: OnDelete = lambda _call, _item: None
    view: View = Item.document
    needs_location: bool = False
    created_status: int = 201
    """Microsoft.Compute says 202 to what is provisioned later, unlike most (Compute REST API)."""

    @property
    def parts(self) -> list[str]:
        """The type below its namespace: virtualNetworks, subnets."""
        return self.name.split("/")[1:]

    def template(self) -> str:
        """Return the path of one resource."""
        steps = "/".join(f"{part}/{{name{place}}}" for place, part in enumerate(self.parts))
        return f"{GROUP}/providers/{self.name.split('/')[0]}/{steps}"

    def show(self, call: Call) -> JsonObject:
        """Return a resource's document."""
        return self.view(store.need(call.path))

    def list(self, call: Call) -> JsonObject:
        """List the resources below the path: of a parent, which must be there, a group or a subscription."""
        if len(self.parts) > 1:
            self._need_parent(call, "/".join(call.path.rstrip("/").split("/")[:-1]))
        found = store.list(call.resource_id, self.name)
        return paging.page(call, (self.view(item) for item in found))

    def put(self, call: Call) -> Answer:
        """Create or replace a resource."""
        return self._write(call, call.body)

    def patch(self, call: Call) -> Answer:
        """Merge changes into a resource (RFC 7396)."""
        return self._write(call, merged(store.need(call.path).body, call.body))

    def delete(self, call: Call) -> Answer:
        """Remove a resource and what is below it; 204 when there is none."""
        item = store.get(call.path)
        if item is None:
            return Answer(204)
        self.on_delete(call, item)
        if not self.asynchronous:
            store.delete(call.path)
            return Answer(200)
        return lro.delete(call, item)

    def _write(self, call: Call, body: JsonObject) -> Answer:
        self._check(call, body)
        before = _copy(store.get(call.path))
        item = store.put(call.path, body)
        try:
            self.on_put(call, item, before)
        except ArmError:
            _restore(item, before)
            raise
        if self.asynchronous:
            answer = lro.put(call, item, created=before is None)
            return Answer(self.created_status if before is None else 200, self.view(item), answer.headers)
        item.properties.setdefault("provisioningState", "Succeeded")
        return Answer(201 if before is None else 200, self.view(item))

    def _check(self, call: Call, body: JsonObject) -> None:
        if self.needs_location and not body.get("location"):
            message = f"The location property is required for resource '{call.resource_id}'."
            raise ArmError(400, "LocationRequired", message)
        if len(self.parts) > 1:
            self._need_parent(call, "/".join(call.path.rstrip("/").split("/")[:-2]))

    @staticmethod
    def _need_parent(call: Call, parent: str) -> None:
        """Azure Resource Manager, "Resolve errors for parent resources"."""
        if store.get(parent) is None:
            message = f"Parent resource '{parent}' of the nested resource '{call.path}' not found."
            raise ArmError(404, "ParentResourceNotFound", message)


def _copy(item: Item | None) -> Item | None:
    return None if item is None else Item(item.id, merged({}, item.body), dict(item.extra), item.etag)


def _restore(item: Item, before: Item | None) -> None:
    if before is None:
        store.delete(item.id)
    else:
        item.body, item.extra, item.etag = before.body, before.extra, before.etag


def resource_type(name: str, *, versions: tuple[str, ...], **hooks: Unpack[Hooks]) -> ResourceType:
    """Register the operations of a type such as Microsoft.Compute/disks, or a nested one."""
    source = hooks.pop("source", "")
    made = ResourceType(name, **cast("dict[str, Any]", hooks))
    one, rules = made.template(), {"versions": versions, "source": source}
    collection = one.rsplit("/", 1)[0]
    _register("GET", one, made.show, f"{name}/read", rules)
    _register("PUT", one, made.put, f"{name}/write", rules)
    _register("PATCH", one, made.patch, f"{name}/write", rules)
    _register("DELETE", one, made.delete, f"{name}/delete", rules)
    _register("GET", collection, made.list, f"{name}/read", rules)
    if len(made.parts) == 1:
        across = f"/subscriptions/{{subscription}}/providers/{name}"
        _register("GET", across, made.list, f"{name}/read", rules)
    return made


def _register(method: str, template: str, handler: Any, action: str, rules: dict[str, Any]) -> None:
    operation("arm", method, template, action=action, **rules)(handler)


def need_group(call: Call) -> None:
    """Refuse a call about a resource group that does not exist."""
    group = ids.group_of(call.path)
    if group is None or _is_group(call.path):
        return
    if store.get(f"/subscriptions/{call.subscription}/resourceGroups/{group}") is None:
        raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")


def _is_group(path: str) -> bool:
    return path.strip("/").count("/") <= GROUP.strip("/").count("/")


@operation(
    "arm",
    "PUT",
    GROUP,
    versions=_GROUP_VERSIONS,
    action=f"{_GROUP_ACTION}/write",
    source=_GROUP_SOURCE,
)
def put_group(call: Call) -> Answer:
    """Create or change a resource group."""
    if not call.body.get("location"):
        raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
    existed = store.get(call.path) is not None
    item = store.put(call.path, {**call.body, "properties": {"provisioningState": "Succeeded"}})
    return Answer(200 if existed else 201, _group(item))


@operation(
    "arm", "GET", GROUP, versions=_GROUP_VERSIONS, action=f"{_GROUP_ACTION}/read", source=_GROUP_SOURCE
)
def get_group(call: Call) -> JsonObject:
    """Show a resource group."""
    item = store.get(call.path)
    if item is None:
        message = f"Resource group '{call.params['group']}' could not be found."
        raise ArmError(404, "ResourceGroupNotFound", message)
    return _group(item)


@operation(
    "arm", "GET", GROUPS, versions=_GROUP_VERSIONS, action=f"{_GROUP_ACTION}/read", source=_GROUP_SOURCE
)
def list_groups(call: Call) -> JsonObject:
    """List the resource groups of a subscription."""
    found = store.list(f"/subscriptions/{call.subscription}", GROUP_TYPE)
    return paging.page(call, (_group(item) for item in found))


@operation(
    "arm",
    "DELETE",
    GROUP,
    versions=_GROUP_VERSIONS,
    action=f"{_GROUP_ACTION}/delete",
    source=_GROUP_SOURCE,
)
def delete_group(call: Call) -> Answer:
    """Remove a resource group with everything in it."""
    item = store.get(call.path)
    if item is None:
        raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{call.params['group']}' not found.")
    return lro.delete(call, item)


def _group(item: Item) -> JsonObject:
    document = item.document()
    del document["etag"]
    return document
