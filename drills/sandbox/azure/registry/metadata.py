"""Repositories, manifests and tags with their attributes.

Source: Azure Container Registry data-plane REST API ("/acr/v1"), "Repository", "Tag", "Manifests".
"""

from __future__ import annotations

from typing import Any

from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.registry.model import (
    FLAGS,
    Manifest,
    Registry,
    Repository,
    Tag,
    registry_error,
)
from drills.sandbox.azure.registry.tokens import authorize, registry_of
from drills.sandbox.azure.table import operation

SOURCE = "Azure Container Registry data-plane REST API, Repository, Tag and Manifests"
_PAGE = 100


def _repository(call: Call, right: str) -> Repository:
    authorize(call, call.params["name"], right)
    return registry_of(call).repository(call.params["name"])


def _document(registry: Registry, repository: Repository) -> JsonObject:
    return {
        "registry": registry.login_server,
        "imageName": repository.name,
        "createdTime": repository.created_at,
        "lastUpdateTime": repository.updated_at,
        "manifestCount": len(repository.manifests),
        "tagCount": len(repository.tags),
        "changeableAttributes": dict(repository.flags),
    }


def _manifest(repository: Repository, manifest: Manifest) -> JsonObject:
    tags = sorted(name for name, tag in repository.tags.items() if tag.digest == manifest.digest)
    quarantine = {"quarantineState": manifest.quarantine_state} if manifest.quarantine_state else {}
    return {
        "digest": manifest.digest,
        "imageSize": manifest.size,
        "createdTime": manifest.created_at,
        "lastUpdateTime": manifest.updated_at,
        "mediaType": manifest.media_type,
        "tags": tags,
        "changeableAttributes": {**manifest.flags, **quarantine},
    }


def _tag(name: str, tag: Tag) -> JsonObject:
    return {
        "name": name,
        "digest": tag.digest,
        "createdTime": tag.created_at,
        "lastUpdateTime": tag.updated_at,
        "signed": False,
        "changeableAttributes": dict(tag.flags),
    }


@operation("acr", "GET", "/acr/v1/_catalog", authenticated=False, source=SOURCE)
def list_repositories(call: Call) -> Answer:
    """List the repositories that may be listed."""
    authorize(call, "", "*")
    listed = [name for name, each in registry_of(call).repositories.items() if each.flags["listEnabled"]]
    page, headers = _page(call, sorted(listed))
    return Answer(200, {"repositories": page}, headers)


@operation("acr", "GET", "/acr/v1/{name:path}/_manifests", authenticated=False, source=SOURCE)
def list_manifests(call: Call) -> Answer:
    """List the manifests that may be listed."""
    repository = _repository(call, "metadata_read")
    listed = sorted(each.digest for each in repository.manifests.values() if each.flags["listEnabled"])
    page, headers = _page(call, listed)
    shown = [_manifest(repository, repository.manifests[digest]) for digest in page]
    return Answer(200, _owned(call, repository, manifests=shown), headers)


@operation("acr", "GET", "/acr/v1/{name:path}/_manifests/{digest}", authenticated=False, source=SOURCE)
def get_manifest_properties(call: Call) -> JsonObject:
    """Return a manifest's properties."""
    repository = _repository(call, "metadata_read")
    shown = _manifest(repository, repository.resolve(call.params["digest"]))
    return _owned(call, repository, manifest=shown)


@operation("acr", "PATCH", "/acr/v1/{name:path}/_manifests/{digest}", authenticated=False, source=SOURCE)
def update_manifest_properties(call: Call) -> JsonObject:
    """Change a manifest's attributes."""
    repository = _repository(call, "metadata_write")
    manifest = repository.resolve(call.params["digest"])
    _set_flags(manifest.flags, call.body)
    if "quarantineState" in call.body:
        manifest.quarantine_state = str(call.body["quarantineState"])
    return _owned(call, repository, manifest=_manifest(repository, manifest))


@operation("acr", "GET", "/acr/v1/{name:path}/_tags", authenticated=False, source=SOURCE)
def list_tags(call: Call) -> Answer:
    """List the tags that may be listed, those of one manifest where it is named."""
    repository = _repository(call, "metadata_read")
    digest = call.query.get("digest", "")
    listed = sorted(
        name
        for name, each in repository.tags.items()
        if each.flags["listEnabled"] and digest in ("", each.digest)
    )
    page, headers = _page(call, listed)
    shown = [_tag(name, repository.tags[name]) for name in page]
    return Answer(200, _owned(call, repository, tags=shown), headers)


@operation("acr", "GET", "/acr/v1/{name:path}/_tags/{tag}", authenticated=False, source=SOURCE)
def get_tag_properties(call: Call) -> JsonObject:
    """Return a tag's properties."""
    repository = _repository(call, "metadata_read")
    name = call.params["tag"]
    return _owned(call, repository, tag=_tag(name, repository.tag(name)))


@operation("acr", "PATCH", "/acr/v1/{name:path}/_tags/{tag}", authenticated=False, source=SOURCE)
def update_tag_properties(call: Call) -> JsonObject:
    """Change a tag's attributes."""
    repository = _repository(call, "metadata_write")
    name = call.params["tag"]
    _set_flags(repository.tag(name).flags, call.body)
    return _owned(call, repository, tag=_tag(name, repository.tag(name)))


@operation("acr", "DELETE", "/acr/v1/{name:path}/_tags/{tag}", authenticated=False, source=SOURCE)
def delete_tag(call: Call) -> Answer:
    """Remove a tag."""
    _repository(call, "delete").delete_tag(call.params["tag"])
    return Answer(202)


@operation("acr", "GET", "/acr/v1/{name:path}", authenticated=False, source=SOURCE)
def get_repository_properties(call: Call) -> JsonObject:
    """Return a repository's properties."""
    return _document(registry_of(call), _repository(call, "metadata_read"))


@operation("acr", "PATCH", "/acr/v1/{name:path}", authenticated=False, source=SOURCE)
def update_repository_properties(call: Call) -> JsonObject:
    """Change a repository's attributes."""
    repository = _repository(call, "metadata_write")
    _set_flags(repository.flags, call.body)
    return _document(registry_of(call), repository)


@operation("acr", "DELETE", "/acr/v1/{name:path}", authenticated=False, source=SOURCE)
def delete_repository(call: Call) -> Answer:
    """Delete a repository, unless a lock is on it or in it."""
    repository = _repository(call, "delete")
    repository.check_removal()
    deleted: JsonObject = {
        "manifestsDeleted": sorted(repository.manifests),
        "tagsDeleted": sorted(repository.tags),
    }
    del registry_of(call).repositories[repository.name]
    return Answer(202, deleted)


def _set_flags(flags: dict[str, bool], wanted: JsonObject) -> None:
    given = {name: wanted[name] for name in FLAGS if name in wanted}
    if not all(isinstance(value, bool) for value in given.values()):
        raise registry_error(400, "INVALID_ATTRIBUTES", "attributes are true or false")
    flags.update(given)


def _owned(call: Call, repository: Repository, **shown: Any) -> JsonObject:
    return {"registry": registry_of(call).login_server, "imageName": repository.name, **shown}


def _page(call: Call, names: list[str]) -> tuple[list[str], dict[str, str]]:
    """Names after the last one seen, and a link to the next page where there is one."""
    last, size = call.query.get("last", ""), int(call.query.get("n") or _PAGE)
    rest = [name for name in names if name > last] if last else names
    if len(rest) <= size:
        return rest, {}
    link = f'<{call.path}?last={rest[size - 1]}&n={size}&orderby=>; rel="next"'
    return rest[:size], {"Link": link}
