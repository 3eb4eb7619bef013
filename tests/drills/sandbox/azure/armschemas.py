"""Hold request bodies against the public JSON schemas of Azure Resource Manager, read from a checkout.

Source: the repository Azure/azure-resource-manager-schemas. Its files say of themselves which draft they are
written in ("$schema"), which types they define ("resourceDefinitions" and its siblings for other scopes) and
where they are published ("id"); references between them are resolved in the checkout, never over the
network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator, Draft6Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry, Resource
from referencing.exceptions import NoSuchResource, Unresolvable
from referencing.jsonschema import DRAFT4

JsonObject = dict[str, Any]
Resolver = Any
"""`referencing` keeps the class of its resolvers to itself."""

_HOME = re.compile(r"https?://schema\.management\.azure\.com/(schemas/.+)", re.IGNORECASE)
_DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-.+)?")
_DATE = len("2020-01-31")
_UNSEEN = re.compile(r"\[(redacted|nested|\d+ bytes)\]")
"""What the record of calls puts in the place of secrets, of deep values and of long bodies."""
_EXTRA = "additionalProperties"
_ALTERNATIVES = ("allOf", "anyOf", "oneOf")
_IMPLIED: JsonObject = {"properties": {}}
"""A template must say the properties even where none is required; a request may leave them away."""
_EXPRESSION = "/definitions/expression"
"""A template may say any value by an expression; a request body may not."""


class SchemaError(Exception):
    """The checkout does not hold what a body is to be held against."""


@dataclass(frozen=True)
class Put:
    """One resource as it was written: where, in which version of the API, with what."""

    path: str
    version: str
    body: Any

    @property
    def type(self) -> str:
        """The resource type of the path: the last provider's, with the types of its parents."""
        head, found, tail = self.path.strip("/").rpartition("providers/")
        if not found or (head and not head.endswith("/")):
            kinds = self.path.strip("/").split("/")[::2]
            return f"Microsoft.Resources/{kinds[-1]}"
        namespace, *rest = tail.split("/")
        return "/".join([namespace, *rest[::2]])

    @property
    def name(self) -> str:
        """The resource's name as a template writes it, with the names of its parents within the provider."""
        tail = self.path.rpartition("/providers/")[2].strip("/").split("/")
        return "/".join(tail[2::2]) if "/providers/" in self.path else tail[-1]

    @property
    def recorded(self) -> bool:
        """Tell whether the body is there; of a long one only its size is kept."""
        return isinstance(self.body, Mapping)


@dataclass(frozen=True)
class Definition:
    """The schema of a resource type: in which file, under which pointer, of which version."""

    version: str
    uri: str
    pointer: str
    schema: JsonObject


class ArmSchemas:
    """The schemas of one checkout."""

    def __init__(self, checkout: Path) -> None:
        """Read folders and files only when they are asked for."""
        self._root = checkout
        self._documents: dict[Path, JsonObject] = {}
        self._found: dict[tuple[str, str], Definition | None] = {}
        self._registry: Registry[JsonObject] = Registry(retrieve=self._retrieved)  # type: ignore[call-arg]

    def definition(self, resource_type: str, version: str) -> Definition | None:
        """Return the type's schema of that version, else of the newest older one, else None."""
        key = resource_type.lower(), version.lower()
        if key not in self._found:
            older = (each for each in self._versions if _age(each) <= _age(key[1]))
            found = (self._defined(key[0], each) for each in older)
            self._found[key] = next((each for each in found if each), None)
        return self._found[key]

    def problems(self, put: Put) -> list[str]:
        """Return what the type's schema has against a body; values that were not recorded are passed over."""
        definition = self._need(put)
        if not put.recorded:
            return [f"the body was not recorded: {put.body}"]
        reference = {"$ref": f"{definition.uri}#{definition.pointer}"}
        validator = _Validator(reference, registry=self._registry)
        # patterns are about the whole name ("^.*/default$") or about its last part, by the name's schema
        names = dict.fromkeys((put.name, put.name.rpartition("/")[2]))
        found = [self._checked(validator, definition, {**put.body, "name": name}) for name in names]
        return min(found, key=len)

    def undeclared(self, put: Put) -> list[str]:
        """Return the paths of a body that its type's schema knows nothing of, which validation lets pass."""
        definition = self._need(put)
        start = [(definition.schema, self._registry.resolver(definition.uri))]
        return list(_undeclared(start, put.body, "")) if put.recorded else []

    def _need(self, put: Put) -> Definition:
        definition = self.definition(put.type, put.version)
        if definition is None:
            raise SchemaError(f"no schema for {put.type} of {put.version} or older in the checkout")
        return definition

    def _checked(self, validator: Any, definition: Definition, body: JsonObject) -> list[str]:
        # a template says in its body what a request says in its address
        fixed = {name: definition.schema["properties"][name]["enum"][0] for name in ("type", "apiVersion")}
        try:
            errors = list(validator.iter_errors({**_IMPLIED, **body, **fixed}))
        except Unresolvable as error:
            missing = f"{definition.uri} refers to {error.ref}, which is not in the checkout"
            raise SchemaError(missing) from error
        return [_worded(leaf) for error in errors for leaf in _leaves(error) if not _unseen(leaf.instance)]

    @cached_property
    def _versions(self) -> Sequence[str]:
        folder = self._root / "schemas"
        if not folder.is_dir():
            raise SchemaError(f"{folder} is no folder of a checkout of azure-resource-manager-schemas")
        names = (each.name.lower() for each in folder.iterdir() if _DATED.fullmatch(each.name))
        return sorted(names, key=_age, reverse=True)

    def _defined(self, resource_type: str, version: str) -> Definition | None:
        namespace = resource_type.partition("/")[0]
        for path in sorted((self._root / "schemas" / version).glob("*.json")):
            # a namespace may be spread over files: Microsoft.Network.json, Microsoft.Network.NRP.json
            if path.name.lower().startswith(f"{namespace}."):
                found = _defined(self._document(path), resource_type, version)
                if found is not None:
                    return found
        return None

    def _document(self, path: Path) -> JsonObject:
        if path not in self._documents:
            self._documents[path] = dict(json.loads(path.read_text(encoding="utf-8")))
        return self._documents[path]

    def _retrieved(self, uri: str) -> Resource[JsonObject]:
        found = _HOME.fullmatch(uri)
        path = self._root / found[1] if found else None
        if path is None or not path.is_file():
            raise NoSuchResource(uri)
        return DRAFT4.create_resource(self._document(path))


def _age(version: str) -> tuple[str, bool]:
    """Order versions by their date, a preview before the version that it announces."""
    return version[:_DATE], len(version) == _DATE


def _defined(document: JsonObject, resource_type: str, version: str) -> Definition | None:
    # resources of resource groups come first: "resourceDefinitions" is the shortest of the groups' names
    groups = sorted((name for name in document if name.lower().endswith("resourcedefinitions")), key=len)
    for group in groups:
        for key, schema in document[group].items():
            names = schema.get("properties", {}).get("type", {}).get("enum", ())
            if resource_type in (name.lower() for name in names):
                uri = str(document["id"]).rstrip("#")
                return Definition(version, uri, f"/{group}/{_escaped(key)}", schema)
    return None


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """Check a pattern; the schemas' are ECMAScript's, and one that Python cannot read says nothing here."""
    if not isinstance(instance, str):
        return
    try:
        matches = re.search(pattern, instance)
    except re.error:
        return
    if not matches:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _additional(
    validator: Any, extra: Any, instance: Any, schema: JsonObject
) -> Iterator[ValidationError] | None:
    """Check the other members of an object, but not that there are none: `undeclared` answers for that.

    Newer files say that a base has no other members than its discriminator, in an allOf with the alternatives
    that have them (EventSubscriptionDestination of Microsoft.EventGrid): no body at all would be valid.
    """
    return None if extra is False else Draft4Validator.VALIDATORS[_EXTRA](validator, extra, instance, schema)


# "const" came with draft 6, but is what those alternatives are told apart by
_CHANGED = {"pattern": _pattern, _EXTRA: _additional, "const": Draft6Validator.VALIDATORS["const"]}
_Validator: Any = extend(Draft4Validator, _CHANGED)  # type: ignore[no-untyped-call]


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """Yield what is wrong in the alternative that was meant: the one in which the error lies deepest."""
    branches: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(inner)
    alternatives: Any = error.validator_value
    meant = [found for index, found in branches.items() if not _is_expression(alternatives[index])]
    if not meant:
        yield error
        return
    best = max(meant, key=lambda found: (max(len(each.absolute_path) for each in found), -len(found)))
    for inner in best:
        yield from _leaves(inner)


def _is_expression(schema: Any) -> bool:
    return str(schema.get("$ref", "")).endswith(_EXPRESSION)


def _unseen(value: Any) -> bool:
    return isinstance(value, str) and bool(_UNSEEN.fullmatch(value))


def _worded(error: ValidationError) -> str:
    place = "/".join(str(part) for part in error.absolute_path)
    return f"{place or '(body)'}: {error.message}"


Sighted = Sequence[tuple[Any, Resolver]]
"""Schemas that may be about one value, each with the resolver of its own references."""


def _undeclared(schemas: Sighted, value: Any, place: str) -> Iterator[str]:
    branches = [branch for schema, resolver in schemas for branch in _branches(schema, resolver)]
    if isinstance(value, Mapping):
        yield from _unknown_names(branches, value, place)
    if isinstance(value, list):
        items = [(schema["items"], resolver) for schema, resolver in branches if "items" in schema]
        for each in value:
            yield from _undeclared(items, each, f"{place}[]")


def _unknown_names(branches: Sighted, value: Mapping[str, Any], place: str) -> Iterator[str]:
    closed = [(schema, way) for schema, way in branches if "properties" in schema]
    free = [(schema[_EXTRA], way) for schema, way in branches if schema.get(_EXTRA, False) is not False]
    for name, inner in value.items():
        known = [(schema["properties"][name], way) for schema, way in closed if name in schema["properties"]]
        if known or free:
            yield from _undeclared(known or free, inner, f"{place}/{name}")
        elif closed:
            yield f"{place}/{name}"


def _branches(schema: Any, resolver: Resolver) -> Iterator[tuple[JsonObject, Resolver]]:
    """Yield a schema and its alternatives, with references followed."""
    if not isinstance(schema, Mapping):
        return
    if "$ref" in schema:
        found = resolver.lookup(schema["$ref"])
        yield from _branches(found.contents, found.resolver)
        return
    yield dict(schema), resolver
    for word in _ALTERNATIVES:
        for inner in schema.get(word, ()):
            yield from _branches(inner, resolver)
