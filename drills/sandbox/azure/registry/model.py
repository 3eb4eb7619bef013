"""What a registry holds, and what its locks refuse.

Source: Azure Container Registry documentation, "Lock container images": write-enabled off blocks pushes,
overwrites and deletions, delete-enabled off blocks deletions, read-enabled off blocks pulls; a repository's
attributes cover everything in it. The refusal's code and status: "Troubleshoot registry operations".
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from drills.sandbox.azure import clock
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.state import on_reset

JsonObject = dict[str, Any]
FLAGS = ("deleteEnabled", "writeEnabled", "listEnabled", "readEnabled")


def _open() -> dict[str, bool]:
    return dict.fromkeys(FLAGS, True)


@dataclass
class Manifest:
    """One manifest, named by the SHA-256 of its bytes."""

    body: bytes
    media_type: str
    flags: dict[str, bool] = field(default_factory=_open)
    quarantine_state: str = ""
    created_at: str = field(default_factory=clock.stamp)
    updated_at: str = field(default_factory=clock.stamp)

    @property
    def digest(self) -> str:
        """Its name."""
        return f"sha256:{hashlib.sha256(self.body).hexdigest()}"

    @property
    def size(self) -> int:
        """Bytes of the manifest and of what it names."""
        document = json.loads(self.body)
        parts = [document.get("config") or {}, *(document.get("layers") or [])]
        return len(self.body) + sum(int(part.get("size", 0)) for part in parts)


@dataclass
class Tag:
    """One tag."""

    digest: str
    flags: dict[str, bool] = field(default_factory=_open)
    created_at: str = field(default_factory=clock.stamp)
    updated_at: str = field(default_factory=clock.stamp)


@dataclass
class Repository:
    """One repository."""

    name: str
    flags: dict[str, bool] = field(default_factory=_open)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    created_at: str = field(default_factory=clock.stamp)
    updated_at: str = field(default_factory=clock.stamp)

    def resolve(self, reference: str) -> Manifest:
        """The manifest that a tag or digest names."""
        digest = self.tags[reference].digest if reference in self.tags else reference
        if digest not in self.manifests:
            raise registry_error(404, "MANIFEST_UNKNOWN", f'manifest tagged by "{reference}" is not found')
        return self.manifests[digest]

    def check(self, flag: str, *also: Manifest | Tag) -> None:
        """Refuse what an attribute of the repository, the manifest or the tag switches off."""
        needed = ("writeEnabled", "deleteEnabled") if flag == "deleteEnabled" else (flag,)
        if not all(each.flags[name] for each in (self, *also) for name in needed):
            raise disallowed()

    def push(self, reference: str, manifest: Manifest) -> None:
        """Store a manifest, under a tag where the reference is one."""
        self.check("writeEnabled")
        known = self.manifests.get(manifest.digest)
        tag = self.tags.get(reference)
        if tag is not None and tag.digest != manifest.digest:
            self.check("writeEnabled", tag)
        self.manifests.setdefault(manifest.digest, manifest)
        if not reference.startswith("sha256:"):
            self._tag(reference, (known or manifest).digest)
        self.updated_at = clock.stamp()

    def _tag(self, name: str, digest: str) -> None:
        tag = self.tags.setdefault(name, Tag(digest))
        tag.digest, tag.updated_at = digest, clock.stamp()

    def delete_manifest(self, reference: str) -> None:
        """Delete a manifest and its tags."""
        manifest = self.resolve(reference)
        mine = {name: tag for name, tag in self.tags.items() if tag.digest == manifest.digest}
        self.check("deleteEnabled", manifest, *mine.values())
        del self.manifests[manifest.digest]
        for name in mine:
            del self.tags[name]

    def delete_tag(self, name: str) -> None:
        """Remove a tag; its manifest stays."""
        tag = self.tag(name)
        self.check("deleteEnabled", tag)
        del self.tags[name]

    def tag(self, name: str) -> Tag:
        """A tag by name."""
        if name not in self.tags:
            raise registry_error(404, "TAG_UNKNOWN", "the specified tag does not exist")
        return self.tags[name]

    def check_removal(self) -> None:
        """Refuse to delete a repository while a lock is on it or on anything in it."""
        self.check("deleteEnabled", *self.manifests.values(), *self.tags.values())


@dataclass
class Registry:
    """One registry."""

    name: str
    resource_id: str
    quarantine: bool = False
    repositories: dict[str, Repository] = field(default_factory=dict)

    @property
    def login_server(self) -> str:
        """Its host name."""
        return f"{self.name}.azurecr.io"

    def repository(self, name: str) -> Repository:
        """A repository by name."""
        if name not in self.repositories:
            raise registry_error(404, "NAME_UNKNOWN", "repository name not known to registry")
        return self.repositories[name]


registries: dict[str, Registry] = {}
on_reset(registries.clear)


def registry_error(status: int, code: str, message: str, **headers: str) -> ArmError:
    """A refusal in the words of the distribution specification."""
    return ArmError(status, code, message, headers=headers)


def disallowed() -> ArmError:
    """The refusal of a lock."""
    return registry_error(
        405,
        "REGISTRY_DISALLOWED_OPERATION",
        "The operation is disallowed on this registry, repository or image. View troubleshooting steps at"
        " https://aka.ms/acr/faq/#why-does-my-pull-or-push-request-fail-with-disallowed-operation",
    )
