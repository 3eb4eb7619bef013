"""Request bodies against the public JSON schemas of Azure Resource Manager.

The schemas are not kept here. Name a checkout of Azure/azure-resource-manager-schemas in
ARM_SCHEMAS, and every resource that the sample and the lives of all measures write is held
against them. The validator itself is always under test, against a small tree of the same layout.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from firebreak.errors import Irreversible
from firebreak.measure import Measure, measures, now
from firebreak.model import Cloud, JsonObject, Run, State, Target
from tests.drills.sandbox.azure.armschemas import ArmSchemas, Put, SchemaError
from tests.grounds import AzureGround, Ground, grounds

CHECKOUT = "ARM_SCHEMAS"
HOME = "https://schema.management.azure.com/schemas"
EXPRESSION = {"$ref": f"{HOME}/common/definitions.json#/definitions/expression"}

WITHOUT_SCHEMA: dict[str, str] = {}
"""Resource types that the public schemas do not define, each with the reason."""
ECHOED: dict[str, frozenset[str]] = {
    "Microsoft.Network/networkInterfaces": frozenset(
        {
            "/etag",
            "/properties/ipConfigurations[]/properties/provisioningState",
            "/properties/macAddress",
            "/properties/provisioningState",
            "/properties/resourceGuid",
            "/properties/virtualMachine",
        }
    ),
    "Microsoft.Network/networkSecurityGroups": frozenset(
        {
            "/etag",
            "/properties/defaultSecurityRules",
            "/properties/networkInterfaces",
            "/properties/provisioningState",
            "/properties/resourceGuid",
            "/properties/securityRules[]/properties/provisioningState",
            "/properties/securityRules[]/type",
        }
    ),
    "Microsoft.Network/virtualNetworks/subnets": frozenset(
        {
            "/etag",
            "/properties/ipConfigurations",
            "/properties/privateEndpoints",
            "/properties/provisioningState",
        }
    ),
    "Microsoft.ServiceBus/namespaces/queues": frozenset({"/properties/provisioningState"}),
    "Microsoft.ServiceBus/namespaces/topics": frozenset({"/properties/provisioningState"}),
}
"""What a body says although its schema does not define it: a document that was read is changed in one place
and written back whole, with what the REST reference marks as read-only and a write ignores."""

GROUP = "/subscriptions/f1aeb1a0-0000-4000-8000-000000000001/resourceGroups/rg"
RULES = f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups/quarantine"
SAID: JsonObject = {"access": "Deny", "priority": 100, "direction": "Outbound"}
RULE: JsonObject = {"name": "deny", "properties": SAID}


# The validator, against a tree made by hand.


def resource(resource_type: str, version: str, properties: JsonObject, **more: Any) -> JsonObject:
    fixed = {"type": {"enum": [resource_type]}, "apiVersion": {"enum": [version]}, "name": {"type": "string"}}
    required = ["name", "type", "apiVersion", "properties"]
    said = {**fixed, "properties": {"oneOf": [properties, EXPRESSION]}, **more}
    return {"type": "object", "properties": said, "required": required}


def document(name: str, version: str, **groups: JsonObject) -> JsonObject:
    draft = "http://json-schema.org/draft-04/schema#"
    return {"id": f"{HOME}/{version}/{name}.json#", "$schema": draft, **groups}


def enum(*values: str) -> JsonObject:
    return {"oneOf": [{"type": "string", "enum": list(values)}, EXPRESSION]}


def network(version: str, *accesses: str) -> JsonObject:
    groups = resource(
        "Microsoft.Network/networkSecurityGroups",
        version,
        {"$ref": "#/definitions/Group"},
        tags={"type": "object", "additionalProperties": {"type": "string"}},
    )
    rule = {"access": enum(*accesses), "priority": {"oneOf": [{"type": "integer"}, EXPRESSION]}}
    rule |= {"direction": enum("Inbound", "Outbound")}
    named = {"name": {"type": "string"}, "properties": {"type": "object", "properties": rule}}
    rules = {"type": "array", "items": {"$ref": f"{HOME}/{version}/Parts.json#/definitions/Rule"}}
    group = {"type": "object", "properties": {"securityRules": {"oneOf": [rules, EXPRESSION]}}}
    parts = document("Parts", version, definitions={"Rule": {"type": "object", "properties": named}})
    whole = document(
        "Microsoft.Network",
        version,
        resourceDefinitions={"networkSecurityGroups": groups},
        definitions={"Group": group},
    )
    return {f"{version}/Microsoft.Network.json": whole, f"{version}/Parts.json": parts}


def services(version: str) -> JsonObject:
    service = resource("Microsoft.Storage/storageAccounts/blobServices", version, {"type": "object"})
    service["properties"]["name"] = {"type": "string", "pattern": "^.*/default$"}
    lock = resource("Microsoft.Authorization/locks", version, {"type": "object", "required": ["level"]})
    group = resource("Microsoft.Resources/resourceGroups", version, {"type": "object"})
    group["required"].remove("properties")
    named = {"type": "string", "pattern": "^[a-z]{3,9}$"}
    link = {**resource("Microsoft.Storage/storageAccounts/links", version, {"type": "object"})}
    link["properties"]["name"] = {"oneOf": [named, EXPRESSION]}
    storage = {"storageAccounts_blobServices": service, "storageAccounts_links": link}
    locks = document("Microsoft.Authorization", version, tenant_resourceDefinitions={"locks": lock})
    groups = document(
        "Microsoft.Resources", version, subscription_resourceDefinitions={"resourceGroups": group}
    )
    topic = resource("Microsoft.EventGrid/eventSubscriptions", version, destination())
    events = document("Microsoft.EventGrid", version, resourceDefinitions={"eventSubscriptions": topic})
    return {
        f"{version}/Microsoft.EventGrid.json": events,
        f"{version}/Microsoft.Storage.Blobs.json": document(
            "Microsoft.Storage.Blobs", version, resourceDefinitions=storage
        ),
        f"{version}/Microsoft.Authorization.json": locks,
        f"{version}/Microsoft.Resources.json": groups,
    }


def destination() -> JsonObject:
    """Two alternatives told apart by a constant, in the form of the public files of Microsoft.EventGrid."""
    kinds = {"Queue": "resourceId", "Hook": "endpointUrl"}
    base = {"type": "object", "properties": {"kind": {"enum": list(kinds)}}, "required": ["kind"]}
    alternatives = [
        {"allOf": [{"properties": {name: {"type": "string"}}}, {"properties": {"kind": {"const": kind}}}]}
        for kind, name in kinds.items()
    ]
    return {"allOf": [{**base, "additionalProperties": False}, {"oneOf": alternatives}]}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    expression = {"type": "string", "pattern": "^\\[([^\\[].*)?\\]$"}
    files: JsonObject = {
        "common/definitions.json": document("definitions", "common", definitions={"expression": expression}),
        **network("2020-01-01", "Allow"),
        **network("2024-05-01-preview", "Deny", "Allow", "Audit"),
        **network("2024-05-01", "Deny", "Allow"),
        **network("2099-01-01", "Nothing"),
        **services("2022-02-02"),
    }
    for name, content in files.items():
        path = tmp_path / "schemas" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def group_of(*rules: JsonObject, version: str = "2024-05-01") -> Put:
    return Put(RULES, version, {"location": "westeurope", "properties": {"securityRules": list(rules)}})


def changed(**properties: Any) -> JsonObject:
    return {**RULE, "properties": {**RULE["properties"], **properties}}


def test_a_body_of_the_schemas_form_has_no_problem(tree: Path) -> None:
    schemas = ArmSchemas(tree)
    assert schemas.problems(group_of(RULE)) == []
    assert schemas.problems(group_of()) == []


def test_a_value_outside_an_enum_is_found_behind_references_between_files(tree: Path) -> None:
    found = ArmSchemas(tree).problems(group_of(RULE, changed(access="Block")))
    assert found == ["properties/securityRules/1/properties/access: 'Block' is not one of ['Deny', 'Allow']"]


def test_a_value_of_another_type_is_found(tree: Path) -> None:
    found = ArmSchemas(tree).problems(group_of(changed(priority="first")))
    assert found == ["properties/securityRules/0/properties/priority: 'first' is not of type 'integer'"]


def test_what_is_required_is_missed(tree: Path) -> None:
    schemas, lock = ArmSchemas(tree), f"{RULES}/providers/Microsoft.Authorization/locks/x"
    bodies: list[JsonObject] = [{"properties": {}}, {}]
    for body in bodies:  # nothing requires a request to say that it has no properties
        found = schemas.problems(Put(lock, "2022-02-02", body))
        assert found == ["properties: 'level' is a required property"]


def test_a_name_that_no_schema_defines_is_pointed_out_although_it_is_valid(tree: Path) -> None:
    schemas, misspelt = ArmSchemas(tree), group_of(changed(acess="Deny"))
    assert schemas.problems(misspelt) == []
    assert schemas.undeclared(misspelt) == ["/location", "/properties/securityRules[]/properties/acess"]
    tagged = Put(RULES, "2024-05-01", {"tags": {"any": "name"}, "properties": {}})
    assert schemas.undeclared(tagged) == []


def test_alternatives_are_told_apart_by_their_constant(tree: Path) -> None:
    schemas = ArmSchemas(tree)

    def event(**properties: Any) -> Put:
        path = f"{RULES}/providers/Microsoft.EventGrid/eventSubscriptions/e"
        return Put(path, "2022-02-02", {"properties": properties})

    assert schemas.problems(event(kind="Queue", resourceId="/subscriptions/s")) == []
    assert schemas.problems(event(kind="Queue", resourceId=7)) == [
        "properties/resourceId: 7 is not of type 'string'"
    ]
    assert "properties/kind: 'Letter' is not one of ['Queue', 'Hook']" in schemas.problems(
        event(kind="Letter")
    )
    assert schemas.undeclared(event(kind="Hook", endpointUrl="https://x", resource="/s")) == [
        "/properties/resource"
    ]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("2024-05-01", "2024-05-01"),
        ("2025-07-01", "2024-05-01"),
        ("2024-05-01-preview", "2024-05-01-preview"),
        ("2024-04-30", "2020-01-01"),
    ],
)
def test_the_exact_version_is_taken_or_else_the_newest_older_one(tree: Path, asked: str, found: str) -> None:
    definition = ArmSchemas(tree).definition("microsoft.network/NETWORKSECURITYGROUPS", asked)
    assert definition is not None
    assert definition.version == found


def test_the_version_decides_what_is_wrong(tree: Path) -> None:
    schemas, audited = ArmSchemas(tree), changed(access="Audit")
    assert schemas.problems(group_of(audited, version="2024-05-01-preview")) == []
    assert schemas.problems(group_of(audited)) != []


def test_a_type_without_a_schema_is_reported(tree: Path) -> None:
    schemas = ArmSchemas(tree)
    assert schemas.definition("Microsoft.Network/routeTables", "2024-05-01") is None
    assert schemas.definition("Microsoft.Network/networkSecurityGroups", "2019-12-31") is None
    with pytest.raises(SchemaError, match=r"no schema for .*/routeTables of 2024-05-01 or older"):
        schemas.problems(Put(f"{GROUP}/providers/Microsoft.Network/routeTables/r", "2024-05-01", {}))


def test_a_file_that_is_referred_to_and_missing_is_reported(tree: Path) -> None:
    (tree / "schemas/common/definitions.json").unlink()
    with pytest.raises(SchemaError, match=r"common/definitions\.json.* not in the checkout"):
        ArmSchemas(tree).problems(group_of(changed(access="Block")))
    (tree / "schemas/2024-05-01/Parts.json").unlink()
    with pytest.raises(SchemaError, match=r"Parts\.json.* not in the checkout"):
        ArmSchemas(tree).problems(group_of(RULE))


def test_a_folder_that_is_no_checkout_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="no folder of a checkout"):
        ArmSchemas(tmp_path).definition("Microsoft.Network/networkSecurityGroups", "2024-05-01")


def test_secrets_left_out_of_the_record_are_passed_over_and_bodies_left_out_are_not(tree: Path) -> None:
    schemas = ArmSchemas(tree)
    assert schemas.problems(group_of(changed(access="[redacted]", priority="[nested]"))) == []
    assert schemas.problems(Put(RULES, "2024-05-01", "[70000 bytes]")) == [
        "the body was not recorded: [70000 bytes]"
    ]


def test_names_are_held_against_their_patterns_whole_or_by_their_last_part(tree: Path) -> None:
    schemas, account = ArmSchemas(tree), f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acct"

    def problems(tail: str) -> list[str]:
        return schemas.problems(Put(f"{account}/{tail}", "2022-02-02", {"properties": {}}))

    assert problems("blobServices/default") == []
    assert problems("links/short") == []
    assert problems("blobServices/other") != []
    assert problems("links/UPPER") == ["name: 'acct/UPPER' does not match '^[a-z]{3,9}$'"]


@pytest.mark.parametrize(
    ("path", "resource_type", "name"),
    [
        ("/subscriptions/s/resourceGroups/rg", "Microsoft.Resources/resourceGroups", "rg"),
        (RULES, "Microsoft.Network/networkSecurityGroups", "quarantine"),
        (f"{RULES}/securityRules/r", "Microsoft.Network/networkSecurityGroups/securityRules", "quarantine/r"),
        (f"{RULES}/providers/Microsoft.Authorization/locks/l", "Microsoft.Authorization/locks", "l"),
        (
            "/subscriptions/s/providers/Microsoft.Authorization/roleAssignments/g",
            "Microsoft.Authorization/roleAssignments",
            "g",
        ),
        ("/providers/Microsoft.Management/managementGroups/m", "Microsoft.Management/managementGroups", "m"),
        (
            "/providers/Microsoft.Management/managementGroups/m/providers/Microsoft.Authorization/locks/l",
            "Microsoft.Authorization/locks",
            "l",
        ),
    ],
)
def test_a_path_says_type_and_name(path: str, resource_type: str, name: str) -> None:
    put = Put(path, "2024-05-01", {})
    assert (put.type, put.name) == (resource_type, name)


def test_other_scopes_and_split_namespaces_are_looked_through(tree: Path) -> None:
    schemas = ArmSchemas(tree)
    assert schemas.problems(Put("/subscriptions/s/resourceGroups/rg", "2022-02-02", {"location": "x"})) == []
    assert schemas.definition("Microsoft.Authorization/locks", "2022-02-02") is not None
    assert schemas.definition("Microsoft.Storage/storageAccounts/links", "2022-02-02") is not None


# What the sample and the measures write, against the schemas of a checkout.


@pytest.fixture(scope="module")
def schemas() -> ArmSchemas:
    checkout = os.environ.get(CHECKOUT, "")
    if not checkout:
        pytest.skip(f"{CHECKOUT} names no checkout of Azure/azure-resource-manager-schemas")
    return ArmSchemas(Path(checkout))


@pytest.fixture(scope="module")
def puts(schemas: ArmSchemas, tmp_path_factory: pytest.TempPathFactory) -> list[Put]:
    """Every resource that was written while the sample was seeded and while all measures lived."""
    assert schemas.definition("Microsoft.Resources/resourceGroups", "2099-01-01"), "the checkout is whole"
    with grounds(tmp_path_factory.mktemp("schemas")) as of:
        ground = of(Cloud.AZURE)
        assert isinstance(ground, AzureGround)
        for kind in sorted(measures(Cloud.AZURE), key=lambda kind: bool(kind.irreversible)):
            live(ground, kind)
        return written(ground.sandbox.calls().calls)


def live(ground: Ground, kind: type[Measure[Any]]) -> None:
    """Put a measure on every target it has in the sample, and take it off again."""
    short = kind.name.partition(".")[2]
    for number, workload in enumerate(each for each in ground.workloads() if kind.applies_to(each)):
        run = ground.run(workload.id, f"INC-{short}-{number}")
        scout = ground.measure(kind, run)
        for target in [found for each in kind.applies_to(workload) for found in scout.discover(each)]:
            there_and_back(ground, kind, run, target)


def there_and_back(ground: Ground, kind: type[Measure[Any]], run: Run, target: Target) -> None:
    measure = ground.measure(kind, run)
    values = measure.snapshot(target)
    change = measure.apply(target, State(measure=kind.name, target=target, taken_at=now(), values=values))
    try:
        reverted = measure.revert(change)
    except Irreversible:
        assert kind.irreversible
    else:
        assert reverted.holds, target.key


def written(calls: Sequence[JsonObject]) -> list[Put]:
    """The distinct resources among the recorded calls of ARM that were accepted."""
    found = {}
    for call in calls:
        if call["host"] == "arm" and call["method"] == "PUT" and call["status"] < 400:
            put = Put(call["path"], call["query"]["api-version"], call["body"])
            found[put.path, put.version, json.dumps(put.body, sort_keys=True)] = put
    return list(found.values())


def defined(schemas: ArmSchemas, puts: Sequence[Put]) -> Iterator[Put]:
    return (put for put in puts if schemas.definition(put.type, put.version))


def test_every_type_that_is_written_has_a_public_schema_or_a_reason(
    schemas: ArmSchemas, puts: list[Put], capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = sorted({(put.type, put.version) for put in puts})
    found = {kind: schemas.definition(*kind) for kind in kinds}
    missing = sorted({kind for kind, version in kinds if found[kind, version] is None})
    assert missing == sorted(WITHOUT_SCHEMA), f"without a schema in the checkout: {', '.join(missing)}"
    with capsys.disabled():
        for (kind, version), definition in found.items():
            if definition is not None and definition.version != version:
                sys.stdout.write(f"\n{kind} {version} is held against the schema of {definition.version}")


def test_every_body_is_valid(schemas: ArmSchemas, puts: list[Put]) -> None:
    found = {f"{put.path}: {problem}" for put in defined(schemas, puts) for problem in schemas.problems(put)}
    assert sorted(found) == []


def test_no_body_says_a_name_that_its_schema_does_not_define(schemas: ArmSchemas, puts: list[Put]) -> None:
    found = {(put.type, place) for put in defined(schemas, puts) for place in schemas.undeclared(put)}
    assert sorted((kind, place) for kind, place in found if place not in ECHOED.get(kind, ())) == []
