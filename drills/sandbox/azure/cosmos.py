"""Play Cosmos DB for NoSQL: accounts and their parts in ARM, and the gateway of the data plane.

Azure Cosmos DB REST API: "Databases", "Collections", "Documents", "Query Documents", "Get Partition Key
Ranges". A query is a plain ``SELECT * FROM c``; the service's other languages are not played.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from typing import Any, Final

from drills.sandbox.azure import errors
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.cosmosdata import (
    ITEMS,
    METADATA,
    PARTITIONS,
    QUERY,
    TYPE,
    account_of,
    add_built_in_roles,
    container_of,
    documents_of,
    require,
)
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.store import Item
from drills.sandbox.azure.table import operation

VERSIONS: Final = ("2023-04-15", "2023-11-15", "2024-05-15", "2024-08-15", "2024-11-15", "2025-04-15")
_SOURCE: Final = "Azure Cosmos DB resource provider REST API"
_DATA: Final = "Azure Cosmos DB REST API, Documents"
_MOST_ITEMS: Final = 1_000
_ALL = re.compile(r"^\s*select\s+\*\s+from\s+\w+\s*$", re.IGNORECASE)
_COLLECTION = "/dbs/{database}/colls/{container}"


def _made(_call: Call, item: Item, before: Item | None) -> None:
    if before is None:
        add_built_in_roles(item)


resource_type(TYPE, versions=VERSIONS, source=_SOURCE, on_put=_made, needs_location=True)
for _part in ("sqlDatabases", "sqlDatabases/containers", "sqlRoleDefinitions", "sqlRoleAssignments"):
    resource_type(f"{TYPE}/{_part}", versions=VERSIONS, source=_SOURCE)


@errors.envelope("cosmos")
def _worded(_call: Call, error: ArmError) -> Answer:
    """Errors of the data plane are flat ("HTTP status codes for Azure Cosmos DB")."""
    return Answer(error.status, {"code": error.code, "message": error.message}, error.headers)


@operation("cosmos", "GET", "/", authenticated=False, source="Get Database Account, Azure Cosmos DB REST API")
def database_account(call: Call) -> JsonObject:
    """Say which regions there are."""
    account = account_of(call)
    require(call, METADATA)
    place = {"name": account.location or "westeurope", "databaseAccountEndpoint": call.url("/")}
    return {
        "id": account.name,
        "_self": "",
        "_rid": call.hostname,
        "writableLocations": [place],
        "readableLocations": [place],
        "enableMultipleWriteLocations": False,
        "userReplicationPolicy": {"asyncReplication": False, "minReplicaSetSize": 3, "maxReplicasetSize": 4},
        "userConsistencyPolicy": {"defaultConsistencyLevel": "Session"},
        "queryEngineConfiguration": "{}",
    }


@operation("cosmos", "GET", _COLLECTION, authenticated=False, source=_DATA)
def collection(call: Call) -> JsonObject:
    """Describe a container."""
    container = container_of(call)
    require(call, METADATA, call.path)
    return {
        "id": container.name,
        "_rid": documents_of(container).rid,
        "_self": call.path.strip("/") + "/",
        "partitionKey": {"kind": "Hash", "version": 2, "paths": [_key_path(container)]},
    }


@operation("cosmos", "GET", f"{_COLLECTION}/pkranges", authenticated=False, source=_DATA)
def partition_key_ranges(call: Call) -> Answer:
    """List the physical partitions; nothing has changed for whoever knows them."""
    container = container_of(call)
    require(call, METADATA, call.path.rpartition("/")[0])
    etag = '"1"'
    if call.headers.get("if-none-match") == etag:
        return Answer(304, None, {"etag": etag})
    ranges = [
        {"id": name, "_rid": f"{name}-rid", "minInclusive": low, "maxExclusive": high, "parents": []}
        for name, (low, high) in PARTITIONS.items()
    ]
    body = {"_rid": documents_of(container).rid, "PartitionKeyRanges": ranges, "_count": len(ranges)}
    return Answer(200, body, {"etag": etag})


@operation("cosmos", "GET", f"{_COLLECTION}/docs", authenticated=False, source=_DATA)
def read_feed(call: Call) -> Answer:
    """Return a page of the items of a partition, or of all."""
    require(call, QUERY, _collection_path(call))
    return _page(call)


@operation(
    "cosmos",
    "POST",
    f"{_COLLECTION}/docs",
    authenticated=False,
    mutating=True,
    source="Query Documents, Create a Document, Azure Cosmos DB REST API",
)
def query_or_create(call: Call) -> Answer:
    """Answer a query, or create an item: one address, told apart by a header."""
    if call.headers.get("x-ms-documentdb-isquery", "").lower() == "true":
        require(call, QUERY, _collection_path(call))
        call.notes["mutating"] = False
        query = call.body.get("query", "")
        if not _ALL.match(query):
            raise ArmError(400, "BadRequest", f"the sandbox does not play this query: {query}")
        return _page(call)
    return _create(call)


@operation("cosmos", "GET", f"{_COLLECTION}/docs/{{item}}", authenticated=False, source=_DATA)
def get_item(call: Call) -> Answer:
    """Return one item."""
    require(call, f"{ITEMS}/read", _collection_path(call))
    found = documents_of(container_of(call)).items.get(_place(call))
    if found is None:
        raise ArmError(404, "NotFound", "Entity with the specified id does not exist in the system.")
    return Answer(200, found, {"etag": found["_etag"]})


@operation("cosmos", "PUT", f"{_COLLECTION}/docs/{{item}}", authenticated=False, source=_DATA)
def replace_item(call: Call) -> Answer:
    """Replace one item."""
    require(call, f"{ITEMS}/replace", _collection_path(call))
    container = container_of(call)
    documents = documents_of(container)
    if _place(call) not in documents.items:
        raise ArmError(404, "NotFound", "Entity with the specified id does not exist in the system.")
    kept = documents.put(_key(container, call.body), call.body)
    return Answer(200, kept, {"etag": kept["_etag"]})


@operation("cosmos", "DELETE", f"{_COLLECTION}/docs/{{item}}", authenticated=False, source=_DATA)
def delete_item(call: Call) -> Answer:
    """Delete one item."""
    require(call, f"{ITEMS}/delete", _collection_path(call))
    if documents_of(container_of(call)).items.pop(_place(call), None) is None:
        raise ArmError(404, "NotFound", "Entity with the specified id does not exist in the system.")
    return Answer(204)


def _create(call: Call) -> Answer:
    upsert = call.headers.get("x-ms-documentdb-is-upsert", "").lower() == "true"
    require(call, f"{ITEMS}/{'upsert' if upsert else 'create'}", _collection_path(call))
    container = container_of(call)
    documents, key = documents_of(container), _key(container, call.body)
    if "id" not in call.body:
        raise ArmError(400, "BadRequest", "The input content is invalid because 'id' is missing.")
    exists = (json.dumps(key), str(call.body["id"])) in documents.items
    if exists and not upsert:
        raise ArmError(409, "Conflict", "Entity with the specified id already exists in the system.")
    kept = documents.put(key, call.body)
    return Answer(200 if exists else 201, kept, {"etag": kept["_etag"]})


def _page(call: Call) -> Answer:
    """Some items, and where the next ones start."""
    documents = documents_of(container_of(call))
    partition = call.headers.get("x-ms-documentdb-partitionkeyrangeid", "")
    items = documents.of(partition) if partition else list(documents.items.values())
    if key := call.headers.get("x-ms-documentdb-partitionkey"):
        wanted = json.dumps(json.loads(key)[0])
        items = [item for (each, _), item in documents.items.items() if each == wanted]
    start = _start(call.headers.get("x-ms-continuation", ""))
    size = int(call.headers.get("x-ms-max-item-count", "-1"))
    end = start + (size if 0 < size <= _MOST_ITEMS else 100)
    body = {"_rid": documents.rid, "Documents": items[start:end], "_count": len(items[start:end])}
    more = b64encode(json.dumps({"at": end, "in": partition}).encode()).decode() if end < len(items) else ""
    return Answer(200, body, {"x-ms-continuation": more} if more else {})


def _start(token: str) -> int:
    if not token:
        return 0
    try:
        return int(json.loads(b64decode(token))["at"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArmError(400, "BadRequest", "Invalid Continuation Token.") from error


def _collection_path(call: Call) -> str:
    return f"/dbs/{call.params['database']}/colls/{call.params['container']}"


def _key_path(container: Item) -> str:
    resource = container.properties.get("resource", {})
    return str(resource.get("partitionKey", {}).get("paths", ["/id"])[0])


def _key(container: Item, document: JsonObject) -> Any:
    value: Any = document
    for part in _key_path(container).strip("/").split("/"):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _place(call: Call) -> tuple[str, str]:
    key = json.loads(call.headers.get("x-ms-documentdb-partitionkey", "[null]"))[0]
    return json.dumps(key), call.params["item"]
