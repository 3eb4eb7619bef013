"""The inventory: which AI workloads exist, what they are made of, and how each may be contained.

Reading it touches no network. Every problem of the file is reported at once, with its line.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.json_schema import models_json_schema
from pydantic_core import ErrorDetails

from firebreak import yamlsource
from firebreak.errors import InventoryError, PermanentCloudError, UsageError
from firebreak.model import Cloud, JsonObject, Resource, Workload
from firebreak.provider import Provider, provider
from firebreak.yamlsource import Document, Location

VERSION = 1
GROUPS = (
    "identities",
    "network",
    "channels",
    "artifacts",
    "stores",
    "pipelines",
    "evidence_sources",
)
"""The workload's fields that hold resources, in the order of ``Workload.resources``."""


@dataclass(frozen=True)
class Inventory:
    """Every workload that Firebreak may contain."""

    path: Path
    workloads: Mapping[str, Workload]
    digest: str
    """SHA-256 over the canonical workloads in order of id; layout and comments of the file do not matter."""

    def workload(self, workload_id: str) -> Workload:
        """The workload of that id; raises UsageError naming the closest ids when there is none."""
        try:
            return self.workloads[workload_id]
        except KeyError as error:
            close = difflib.get_close_matches(workload_id, self.workloads, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else "see firebreak inventory list"
            raise UsageError(f"there is no workload {workload_id!r} in {self.path}", remedy=hint) from error

    def users_of(self, ref: str) -> tuple[str, ...]:
        """The ids of all workloads that declare this resource."""
        return tuple(
            each.id for each in self.workloads.values() if any(ref == part.ref for part in each.resources())
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    workloads: list[Any]


def load(path: Path) -> Inventory:
    """Read and check an inventory file; raises InventoryError naming file, line and field of each problem."""
    document = yamlsource.read(path)
    try:
        file = _File.model_validate(document.value)
    except ValidationError as error:
        _complain(document, (), error)
        document.refuse()
        raise
    found = [_workload(document, ("workloads", index), raw) for index, raw in enumerate(file.workloads)]
    workloads = _by_id(document, found)
    digests = _digests(document, workloads)
    document.refuse()
    return Inventory(path, MappingProxyType(workloads), hashlib.sha256(rfc8785.dumps(digests)).hexdigest())


def workload_from_json(raw: bytes) -> Workload:
    """Read one workload back from its canonical JSON, each resource as its provider's class."""
    document = Document(name="workload.json")
    try:
        document.value = json.loads(raw)
    except ValueError as error:
        raise InventoryError(f"not a workload's JSON: {error}") from error
    workload = _workload(document, (), document.value)
    document.refuse()
    if workload is None:
        raise InventoryError("not a workload's JSON")
    return workload


def _workload(document: Document, where: Location, raw: Any) -> Workload | None:
    if not isinstance(raw, dict):
        document.complain(where, "a workload must be a mapping")
        return None
    cloud = _provider(document, where, raw.get("cloud"))
    parts = {
        group: _group(document, (*where, group), cloud, raw.get(group)) for group in GROUPS if group in raw
    }
    try:
        workload = Workload.model_validate({**raw, **parts})
    except ValidationError as error:
        _complain(document, where, error)
        return None
    for problem in cloud.check(workload) if cloud else ():
        document.complain(where, problem, named=workload.id)
    return workload


def _provider(document: Document, where: Location, cloud: Any) -> Provider | None:
    if cloud not in list(Cloud):
        return None  # Workload's own validation names the field
    try:
        return provider(Cloud(cloud))
    except PermanentCloudError as error:
        document.complain((*where, "cloud"), str(error))
        return None


def _group(document: Document, where: Location, cloud: Provider | None, raw: Any) -> Any:
    """The valid resources of a group; what is not even a list is left for Workload to refuse."""
    if not isinstance(raw, list) or cloud is None:
        return () if cloud is None else raw
    kinds = cloud.kinds.get(str(where[-1]), {})
    parts: list[Resource] = []
    for index, each in enumerate(raw):
        part = _resource(document, (*where, index), kinds, each)
        if part is not None and part in parts:
            document.complain((*where, index), "the same resource is declared twice")
        elif part is not None:
            parts.append(part)
    return tuple(parts)


def _resource(
    document: Document, where: Location, kinds: Mapping[str, type[Resource]], raw: Any
) -> Resource | None:
    kind = raw.get("kind") if isinstance(raw, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        document.complain((*where, "kind"), f"{kind!r} is not one of {', '.join(kinds) or 'none'}")
        return None
    try:
        return kinds[kind].model_validate(raw)
    except ValidationError as error:
        _complain(document, where, error)
        return None


def _complain(document: Document, where: Location, error: ValidationError) -> None:
    for each in error.errors(include_url=False):
        place = (*where, *each["loc"])
        document.complain(place, _explain(each))


_PLAIN_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a known field",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}


def _explain(each: ErrorDetails) -> str:
    """Say what is wrong, quoting the value where it is short and public."""
    if each["type"] in _PLAIN_WORDS:
        return _PLAIN_WORDS[each["type"]]
    text = each["msg"].removeprefix("Value error, ")
    value = each["input"]
    if each["type"] == "string_type" and not isinstance(value, list | dict):
        return f"{text}: put it in quotes"
    if isinstance(value, str) and "access" not in each["loc"]:
        return f"{text}, not {value[:80]!r}"
    return text


def _by_id(document: Document, found: list[Workload | None]) -> dict[str, Workload]:
    workloads: dict[str, Workload] = {}
    lines: dict[str, int] = {}
    for index, workload in enumerate(found):
        if workload is None:
            continue
        where = ("workloads", index, "id")
        if workload.id in workloads:
            document.complain(where, f"{workload.id} is declared twice (first on line {lines[workload.id]})")
        else:
            workloads[workload.id] = workload
            lines[workload.id] = document.line(where)
    return dict(sorted(workloads.items()))


def _digests(document: Document, workloads: Mapping[str, Workload]) -> dict[str, str]:
    digests = {}
    for workload in workloads.values():
        try:
            digests[workload.id] = workload.digest()
        except rfc8785.CanonicalizationError as error:
            document.complain(("workloads",), f"no canonical form: {error}", named=workload.id)
    return digests


def schema(clouds: tuple[Cloud, ...]) -> JsonObject:
    """The JSON Schema of an inventory file, for editors and other tools."""
    kinds = {cloud: provider(cloud).kinds for cloud in clouds}
    models = [kind for groups in kinds.values() for group in groups.values() for kind in group.values()]
    references, shared = models_json_schema(
        [(Workload, "validation"), *((model, "validation") for model in dict.fromkeys(models))]
    )
    definitions = shared["$defs"]
    for cloud, groups in kinds.items():
        definitions[f"{cloud}-workload"] = _cloud_schema(cloud, groups, references)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Firebreak inventory",
        "description": "The AI workloads that Firebreak may contain. Generated; do not edit.",
        "type": "object",
        "additionalProperties": False,
        "required": ["version", "workloads"],
        "properties": {
            "version": {"const": VERSION},
            "workloads": {
                "type": "array",
                "items": {
                    "allOf": [{"$ref": "#/$defs/Workload"}],
                    "oneOf": [{"$ref": f"#/$defs/{cloud}-workload"} for cloud in kinds],
                },
            },
        },
        "$defs": definitions,
    }


def _cloud_schema(
    cloud: Cloud, groups: Mapping[str, Mapping[str, type[Resource]]], references: Mapping[Any, Any]
) -> JsonObject:
    def one(kind: str, model: type[Resource]) -> JsonObject:
        return {"properties": {"kind": {"const": kind}}, **references[(model, "validation")]}

    return {
        "properties": {
            "cloud": {"const": cloud.value},
            **{
                group: {"items": {"oneOf": [one(kind, model) for kind, model in models.items()]}}
                for group, models in groups.items()
            },
        }
    }
