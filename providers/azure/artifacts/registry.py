"""One repository of a container registry: its attributes, manifests and tags, reached as the responder.

Azure Container Registry, "Authenticating with OAuth 2.0": the Entra token is exchanged for a refresh token,
and that for an access token of the registry's own, which names the rights in one repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpx

from firebreak.errors import PermanentCloudError
from firebreak.model import JsonObject
from providers.azure.answers import translated
from providers.azure.existence import absent, existing
from providers.azure.ids import ResourceId
from providers.azure.rest import Rest, body_of
from providers.azure.session import AzureAccess

REGISTRY_VERSION = "2023-07-01"
"""api-version of Microsoft.ContainerRegistry."""
_RIGHTS = "pull,push,delete,metadata_read,metadata_write"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# OCI image manifest specification, "Guidance for an empty descriptor".
EMPTY: JsonObject = {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    "size": 2,
}
_DOCKER = "application/vnd.docker.distribution.manifest"
_MANIFEST_TYPES = (
    f"{MANIFEST_TYPE}, application/vnd.oci.image.index.v1+json, {_DOCKER}.v2+json, {_DOCKER}.list.v2+json"
)
_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
FLAGS = ("deleteEnabled", "writeEnabled")


@dataclass(frozen=True)
class Repository:
    """One repository, ``<registry ARM id>/repositories/<name>``."""

    access: AzureAccess
    ref: str

    @property
    def registry_id(self) -> str:
        """The registry's ARM id."""
        return self.ref[: self.ref.lower().index("/repositories/")]

    @property
    def name(self) -> str:
        """The repository's name, which may have slashes."""
        return self.ref[self.ref.lower().index("/repositories/") + len("/repositories/") :]

    def document(self) -> JsonObject:
        """The registry as Azure Resource Manager shows it; raises PermanentCloudError where there is none."""
        return existing(self.access, self.registry_id, REGISTRY_VERSION, "the declared registry")

    @cached_property
    def api(self) -> Rest:
        """The login server, with a token for this repository.

        Its name is Resource Manager's to say, but has to be one of the registry's own domain: the Entra token
        goes there.
        """
        server = str(self.document()["properties"]["loginServer"]).lower()
        suffix = urlsplit(self.access.endpoints.registry_url("x")).netloc.removeprefix("x")
        if not server.startswith(ResourceId.parse(self.registry_id).name.lower()) or not server.endswith(
            suffix
        ):
            raise PermanentCloudError(f"{server} is no login server of the registry", resource=self.ref)
        with translated(self.ref):
            token = self._token(server)
        return Rest(f"https://{server}", lambda: token)

    def _token(self, server: str) -> str:
        entra = self.access.reached().token(self.access.endpoints.arm_scope)
        anonymous = Rest(f"https://{server}", None)
        form = {"grant_type": "access_token", "service": server, "access_token": entra}
        refresh = body_of(anonymous.request("POST", "oauth2/exchange", form=form))["refresh_token"]
        form = {
            "grant_type": "refresh_token",
            "service": server,
            "scope": f"repository:{self.name}:{_RIGHTS}",
            "refresh_token": refresh,
        }
        return str(body_of(anonymous.request("POST", "oauth2/token", form=form))["access_token"])

    def attributes(self) -> JsonObject:
        """The repository's attributes; raises PermanentCloudError where there is no such repository."""
        with translated(self.ref):
            found = self.api.find(f"acr/v1/{self.name}")
        if found is None:
            raise absent(self.ref, "the declared repository")
        return _flags(found)

    def manifests(self) -> dict[str, JsonObject]:
        """The attributes of every manifest, by digest."""
        return {each["digest"]: _flags(each) for each in self._pages("_manifests", "manifests")}

    def tags(self) -> dict[str, JsonObject]:
        """The digest and attributes of every tag, by name."""
        pages = self._pages("_tags", "tags")
        return {each["name"]: {"digest": each["digest"], **_flags(each)} for each in pages}

    def _pages(self, collection: str, member: str) -> Iterator[JsonObject]:
        path = f"acr/v1/{self.name}/{collection}"
        while path:
            with translated(self.ref):
                answer = self.api.request("GET", path)
            yield from body_of(answer).get(member) or ()
            path = _next(answer)

    def set(self, place: str, flags: JsonObject) -> None:
        """Set the attributes of the repository (empty place), a manifest or a tag."""
        path = f"acr/v1/{self.name}" + (f"/{place}" if place else "")
        with translated(f"{self.ref}/{place}".rstrip("/")):
            self.api.request("PATCH", path, json=flags)

    def manifest(self, reference: str) -> bytes:
        """The bytes of a manifest."""
        path = f"v2/{self.name}/manifests/{reference}"
        return self.api.request("GET", path, headers={"Accept": _MANIFEST_TYPES}).content

    def push(self, tag: str, body: bytes) -> None:
        """Push a manifest under a tag."""
        self.api.request(
            "PUT", f"v2/{self.name}/manifests/{tag}", content=body, headers={"Content-Type": MANIFEST_TYPE}
        )

    def push_empty(self) -> None:
        """Push the two bytes that a manifest without content consists of."""
        answer = self.api.request("POST", f"v2/{self.name}/blobs/uploads/")
        place = answer.headers["Location"]
        joint = "&" if "?" in place else "?"
        self.api.request(
            "PUT",
            f"{place}{joint}digest={EMPTY['digest']}",
            content=b"{}",
            headers={"Content-Type": "application/octet-stream"},
        )

    def untag(self, name: str) -> None:
        """Remove a tag; its manifest stays."""
        self.api.request("DELETE", f"acr/v1/{self.name}/_tags/{name}")

    def delete(self, digest: str) -> None:
        """Delete a manifest with its tags."""
        self.api.request("DELETE", f"v2/{self.name}/manifests/{digest}")


def _flags(document: JsonObject) -> JsonObject:
    attributes: dict[str, Any] = document.get("changeableAttributes") or {}
    return {name: bool(attributes.get(name, True)) for name in FLAGS}


def _next(answer: httpx.Response) -> str:
    match = _NEXT.search(answer.headers.get("Link", ""))
    return match[1] if match else ""
