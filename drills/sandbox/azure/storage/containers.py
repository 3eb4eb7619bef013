"""Containers over the data plane.

Source: Azure Storage REST API, "Operations on containers" and "List Containers".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar
from xml.etree import ElementTree as ET

from drills.sandbox.azure.storage.errors import BlobError
from drills.sandbox.azure.storage.model import Blob, Container, Version
from drills.sandbox.azure.storage.properties import (
    blob_element,
    container_element,
    container_headers,
    fill,
    http_date,
    metadata_of,
)
from drills.sandbox.azure.storage.service import CONTAINERS, READ, Asked, Given, operation

PAGE = 5000
T = TypeVar("T")


@operation("GET", "service", "list", actions=(f"{CONTAINERS}/read",), data=False)
def list_containers(asked: Asked) -> Given:
    """List the account's containers."""
    prefix = asked.query.get("prefix", "")
    every = asked.store.account(asked.account).containers
    names = sorted(name for name in every if name.startswith(prefix))
    page, marker = _page(asked, [(name, every[name]) for name in names])
    root = ET.Element("EnumerationResults", {"ServiceEndpoint": _endpoint(asked)})
    fill(root, {"Prefix": prefix})
    listing = ET.SubElement(root, "Containers")
    listing.extend(container_element(each) for _, each in page)
    ET.SubElement(root, "NextMarker").text = marker
    return _xml(root)


@operation(
    "GET",
    "service",
    "properties",
    actions=("Microsoft.Storage/storageAccounts/blobServices/read",),
    data=False,
)
def get_blob_service_properties(asked: Asked) -> Given:
    """Say the service's settings."""
    asked.store.account(asked.account)
    root = ET.Element("StorageServiceProperties")
    fill(root, {"DefaultServiceVersion": "2026-10-06"})
    return _xml(root)


@operation("PUT", "container", actions=(f"{CONTAINERS}/write",), data=False)
def create_container(asked: Asked) -> Given:
    """Make a container."""
    made = asked.store.create_container(asked.account, asked.container, metadata=metadata_of(asked.headers))
    return Given(201, {"ETag": made.etag, "Last-Modified": http_date(made.modified_at)})


@operation("GET", "container", actions=(f"{CONTAINERS}/read",), data=False)
@operation("HEAD", "container", actions=(f"{CONTAINERS}/read",), data=False)
def get_container_properties(asked: Asked) -> Given:
    """Say what a container is."""
    return Given(200, container_headers(asked.store.container(asked.account, asked.container)))


@operation("PUT", "container", "metadata", actions=(f"{CONTAINERS}/write",), data=False)
def set_container_metadata(asked: Asked) -> Given:
    """Replace a container's metadata."""
    container = asked.store.container(asked.account, asked.container)
    container.metadata = metadata_of(asked.headers)
    container.touch()
    return Given(200, {"ETag": container.etag, "Last-Modified": http_date(container.modified_at)})


@operation("DELETE", "container", actions=(f"{CONTAINERS}/delete",), data=False)
def delete_container(asked: Asked) -> Given:
    """Delete a container, where nothing protects it."""
    asked.store.delete_container(asked.account, asked.container)
    return Given(202)


@operation("GET", "container", "list", actions=(READ,))
def list_blobs(asked: Asked) -> Given:
    """List blobs, flat or up to a delimiter, with versions and snapshots where they are asked for."""
    container = asked.store.container(asked.account, asked.container)
    include = frozenset(asked.query.get("include", "").lower().split(","))
    prefix, delimiter = asked.query.get("prefix", ""), asked.query.get("delimiter", "")
    names = sorted(name for name in container.blobs if name.startswith(prefix))
    rows = _grouped(names, prefix, delimiter)
    page, marker = _page(asked, [(row, row) for row in rows])
    root = ET.Element(
        "EnumerationResults", {"ServiceEndpoint": _endpoint(asked), "ContainerName": asked.container}
    )
    fill(root, {"Prefix": prefix} | ({"Delimiter": delimiter} if delimiter else {}))
    listing = ET.SubElement(root, "Blobs")
    for row, _ in page:
        if row in container.blobs and not (delimiter and row.endswith(delimiter) and row not in names):
            listing.extend(_elements(container, row, include))
        else:
            ET.SubElement(ET.SubElement(listing, "BlobPrefix"), "Name").text = row
    ET.SubElement(root, "NextMarker").text = marker
    return _xml(root)


def _grouped(names: Iterable[str], prefix: str, delimiter: str) -> list[str]:
    """The names, those behind a delimiter shortened to it."""
    if not delimiter:
        return list(names)
    short = {
        name[: name.index(delimiter, len(prefix)) + len(delimiter)]
        if delimiter in name[len(prefix) :]
        else name
        for name in names
    }
    return sorted(short)


def _elements(container: Container, name: str, include: frozenset[str]) -> list[ET.Element]:
    blob = container.blobs[name]
    rows: list[tuple[Version, str]] = []
    if "snapshots" in include:
        rows += [(version, stamp) for stamp, version in sorted(blob.snapshots.items())]
    if "versions" in include:
        rows += [(version, "") for version in blob.previous if version.version_id]
    rows += [(blob.current, "")] if blob.current else []
    elements = [blob_element(blob, version, snapshot=stamp, include=include) for version, stamp in rows]
    if blob.current is None and "uncommittedblobs" in include and blob.uncommitted:
        elements.append(blob_element(Blob(name), Version(kind="BlockBlob"), snapshot="", include=include))
    return elements


def _page(asked: Asked, rows: Sequence[tuple[str, T]]) -> tuple[list[tuple[str, T]], str]:
    """The rows from the marker on, at most as many as asked for, and where the next page begins."""
    size = int(asked.query.get("maxresults") or PAGE)
    if size < 1:
        raise BlobError(
            400,
            "OutOfRangeQueryParameterValue",
            "A query parameter specified is outside the permissible range.",
        )
    marker = asked.query.get("marker", "")
    rest = [row for row in rows if row[0] >= marker]
    size = min(size, PAGE)
    return list(rest[:size]), rest[size][0] if len(rest) > size else ""


def _endpoint(asked: Asked) -> str:
    return f"https://{asked.account}.blob.core.windows.net/"


def _xml(root: ET.Element) -> Given:
    body = b'<?xml version="1.0" encoding="utf-8"?>' + ET.tostring(root, encoding="utf-8")
    return Given(200, {"Content-Type": "application/xml"}, body)
