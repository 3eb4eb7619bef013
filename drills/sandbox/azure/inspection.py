"""Show everything that the sandbox keeps, one document for each thing, so that two moments can be compared.

This is no API of Azure's: an administrator of a real tenant would have to ask every service for it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from drills.sandbox.azure import cosmosdata, pim, tokens
from drills.sandbox.azure.control import ControlRequest, route
from drills.sandbox.azure.devops import projects
from drills.sandbox.azure.directory import directory
from drills.sandbox.azure.github import github
from drills.sandbox.azure.rbac import custom_roles, deny_assignments, role_assignments
from drills.sandbox.azure.registry.model import Repository, registries
from drills.sandbox.azure.servicebus_messages import messages
from drills.sandbox.azure.storage.blobs import blob_store
from drills.sandbox.azure.storage.model import Account, Version
from drills.sandbox.azure.store import store
from drills.sandbox.azure.tenancy import tenancy
from drills.sandbox.azure.vault_keys import contents

Named = Iterator[tuple[str, Any]]
KINDS = ("servicePrincipals", "applications", "groups", "users")


def _resources() -> Named:
    for item in store.list():
        yield f"resource {item.id}", {**item.body, "extra": item.extra}


def _authorization() -> Named:
    for each in role_assignments.values():
        shown = {"scope": each.scope, "properties": each.properties}
        end = pim.end_of(each)
        if end is None:
            yield f"role {each.id}", shown
        else:
            # the service names each activation anew
            role = each.properties["roleDefinitionId"].rsplit("/", 1)[-1]
            yield f"activation {each.properties['principalId']} {role} {each.scope}", {**shown, "end": end}
    for each in deny_assignments.values():
        yield f"deny {each.id}", {"scope": each.scope, "properties": each.properties}
    for name, definition in custom_roles.items():
        yield f"definition {name}", definition


def _directory() -> Named:
    for tenant in tenancy.tenants:
        for kind in KINDS:
            for each in directory.list(tenant, kind):
                members = sorted(directory.members(each.id)) if kind == "groups" else []
                shown = {"federated": each.federated, "secrets": sorted(each.hashes), "members": members}
                yield f"{kind} {each.id}", {**each.document, **shown}


def _storage() -> Named:
    for account in blob_store.accounts.values():
        yield from _containers(account)


def _containers(account: Account) -> Named:
    for container in account.containers.values():
        place = f"{account.name}/{container.name}"
        shown = asdict(container)
        del shown["blobs"]
        yield f"container {place}", shown
        for blob in container.blobs.values():
            snapshots = {name: _version(each) for name, each in blob.snapshots.items()}
            current = blob.current.version_id if blob.current else None
            yield f"blob {place}/{blob.name}", {"current": current, "snapshots": snapshots}
            for number, version in enumerate(blob.versions):
                yield f"version {place}/{blob.name} {version.version_id or number}", _version(version)


def _version(version: Version) -> dict[str, Any]:
    digest = hashlib.sha256()
    for part in blob_store.stream(version):
        digest.update(part)
    shown = {name: value for name, value in vars(version).items() if name != "blocks"}
    return {**shown, "retention": vars(version.retention) if version.retention else None} | {
        "sha256": digest.hexdigest()
    }


def _registries() -> Named:
    for registry in registries.values():
        for repository in registry.repositories.values():
            yield from _repository(f"{registry.name}/{repository.name}", repository)


def _repository(place: str, repository: Repository) -> Named:
    yield f"repository {place}", repository.flags
    for digest, manifest in repository.manifests.items():
        body = base64.b64encode(manifest.body).decode()
        yield f"manifest {place}@{digest}", {**vars(manifest), "body": body}
    for name, tag in repository.tags.items():
        yield f"tag {place}:{name}", vars(tag)


def _pipelines() -> Named:
    for project in projects.values():
        for number, definition in project.definitions.items():
            yield f"definition {project.org}/{project.name}/{number}", definition
    for (owner, name), repository in github.repositories.items():
        yield f"variables {owner}/{name}", repository.variables
        for file, workflow in repository.workflows.items():
            yield f"workflow {owner}/{name}/{file}", workflow


def _records() -> Named:
    for place, documents in cosmosdata.contents():
        yield f"items {place}", {f"{key} {name}": each for (key, name), each in documents.items.items()}
    for place, queue in messages.contents():
        found = [
            {"number": m.sequence_number, "sha256": hashlib.sha256(m.payload).hexdigest()}
            | {"deliveries": m.delivery_count}
            for m in queue.peek(0, queue.count() or 1)
        ]
        yield f"messages {place}", found


@route("GET", "/everything")
def everything(_request: ControlRequest) -> dict[str, Any]:
    """Return all that is kept, by kind and id; times and other values as texts."""
    parts = (_resources, _authorization, _directory, _storage, _registries, _pipelines, _records)
    return {name: _plain(value) for part in parts for name, value in part()}


@route("GET", "/secrets")
def list_secrets(_request: ControlRequest) -> dict[str, Any]:
    """Return every secret that the sandbox has given out, for whoever looks for one where none may be."""
    keys = [key for item in store.list() for key in item.extra.get("keys", {}).values()]
    kept = [version.value for versions in contents.secrets.values() for version in versions]
    return {"secrets": [*tokens.issued, *keys, *kept, *github.tokens]}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
