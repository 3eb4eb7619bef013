"""Keep ARM resources by id: found without case, shown as their creator wrote them."""

from __future__ import annotations

import copy
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from drills.sandbox.azure import ids
from drills.sandbox.azure.errors import not_found
from drills.sandbox.azure.state import on_reset

JsonObject = dict[str, Any]
_OWN_FIELDS = frozenset({"id", "name", "type", "etag"})


def new_etag() -> str:
    """Return a tag nothing else bears."""
    return f'W/"{uuid.uuid4()}"'


@dataclass
class Item:
    """A resource: `body` is its document without id, name, type and etag; `extra` is never shown."""

    id: str
    body: JsonObject
    extra: dict[str, Any] = field(default_factory=dict)
    etag: str = field(default_factory=new_etag)

    @property
    def name(self) -> str:
        """The last segment of the id."""
        return ids.name_of(self.id)

    @property
    def type(self) -> str:
        """The full type, such as Microsoft.Network/virtualNetworks/subnets."""
        return ids.type_of(self.id)

    @property
    def location(self) -> str:
        """The region, or nothing for what has none."""
        return str(self.body.get("location", ""))

    @property
    def properties(self) -> JsonObject:
        """The properties, which may be changed in place (then call `store.touch`)."""
        properties: JsonObject = self.body.setdefault("properties", {})
        return properties

    def document(self) -> JsonObject:
        """Return a copy of the document the API shows."""
        shown = {"id": self.id, "name": self.name, "type": self.type}
        return {**shown, **copy.deepcopy(self.body), "etag": self.etag}


class Store:
    """The resources of all subscriptions."""

    def __init__(self) -> None:
        """Start empty."""
        self._items: dict[str, Item] = {}
        self._by_type: defaultdict[str, dict[str, Item]] = defaultdict(dict)

    def get(self, resource_id: str) -> Item | None:
        """Return a resource, or None."""
        return self._items.get(ids.key(resource_id))

    def need(self, resource_id: str) -> Item:
        """Return a resource, or refuse the call with 404 ResourceNotFound."""
        item = self.get(resource_id)
        if item is None:
            raise not_found(resource_id)
        return item

    def put(self, resource_id: str, body: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Item:
        """Create a resource or replace its document; private state and the first casing of the id stay."""
        plain = {name: copy.deepcopy(value) for name, value in body.items() if name not in _OWN_FIELDS}
        item = self.get(resource_id)
        if item is None:
            item = Item("/" + resource_id.strip("/"), plain, dict(extra or {}))
            comparable = ids.key(resource_id)
            self._items[comparable] = self._by_type[item.type.lower()][comparable] = item
            return item
        item.body = plain
        item.extra.update(extra or {})
        return self.touch(item)

    def patch(self, resource_id: str, changes: Mapping[str, Any]) -> Item:
        """Merge changes into a resource (RFC 7396)."""
        item = self.need(resource_id)
        plain = {name: value for name, value in changes.items() if name not in _OWN_FIELDS}
        item.body = merged(item.body, plain)
        return self.touch(item)

    def touch(self, item: Item) -> Item:
        """Give a changed resource a new ETag."""
        item.etag = new_etag()
        return item

    def delete(self, resource_id: str) -> bool:
        """Remove a resource and everything below it; tell whether it existed."""
        existed = ids.key(resource_id) in self._items
        for item in list(self.list(resource_id)):
            comparable = ids.key(item.id)
            del self._items[comparable]
            del self._by_type[item.type.lower()][comparable]
        return existed

    def list(self, under: str = ids.ROOT, resource_type: str = "") -> Iterator[Item]:
        """Yield the resources at or below an id, of one type when given, in order of creation."""
        scope, wanted = ids.key(under), resource_type.lower()
        candidates = self._by_type[wanted] if wanted else self._items
        for comparable, item in list(candidates.items()):
            if scope in {ids.ROOT, comparable} or comparable.startswith(f"{scope}/"):
                yield item

    def clear(self) -> None:
        """Forget all resources."""
        self._items.clear()
        self._by_type.clear()


def merged(document: Any, changes: Any) -> Any:
    """Return a document with changes merged in as RFC 7396 says: null removes."""
    if not isinstance(changes, Mapping):
        return copy.deepcopy(changes)
    result = dict(document) if isinstance(document, Mapping) else {}
    for name, change in changes.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), change)
    return result


store = Store()
on_reset(store.clear)
