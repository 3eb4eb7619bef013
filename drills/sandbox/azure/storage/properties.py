"""Write a blob's or container's properties as headers and as XML, and read them from a request.

Source: Azure Storage REST API, "Get Blob Properties", "List Blobs", "Put Blob", "Get Container Properties".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree as ET

from drills.sandbox.azure.clock import now as utc_now
from drills.sandbox.azure.storage.errors import BlobError
from drills.sandbox.azure.storage.model import Blob, Container, Retention, Version

_META = "x-ms-meta-"
_SETTABLE = ("Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control")


def http_date(at: datetime) -> str:
    """A time as HTTP writes it."""
    return format_datetime(at, usegmt=True)


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The metadata that a request sets."""
    return {name[len(_META) :]: value for name, value in headers.items() if name.startswith(_META)}


def headers_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The properties that a request sets."""
    chosen = {name: headers.get(f"x-ms-blob-{name.lower()}") for name in (*_SETTABLE, "Content-MD5")}
    kept = {name: value for name, value in chosen.items() if value is not None}
    return {"Content-Type": "application/octet-stream"} | kept


def protection_of(headers: Mapping[str, str]) -> dict[str, Any]:
    """The hold and the retention that a request sets on the version it writes."""
    values: dict[str, Any] = {}
    if "x-ms-legal-hold" in headers:
        values["legal_hold"] = headers["x-ms-legal-hold"].lower() == "true"
    if "x-ms-immutability-policy-until-date" in headers:
        values["retention"] = retention_of(headers)
    return values


def retention_of(headers: Mapping[str, str]) -> Retention:
    """The retention in a request's headers."""
    until = parsedate_to_datetime(headers.get("x-ms-immutability-policy-until-date", ""))
    if until <= utc_now():
        raise BlobError(400, "InvalidHeaderValue", "The immutability policy's date must be in the future.")
    locked = headers.get("x-ms-immutability-policy-mode", "unlocked").lower() == "locked"
    return Retention(until, "Locked" if locked else "Unlocked")


def blob_headers(blob: Blob, version: Version) -> dict[str, str]:
    """What a read of the properties answers."""
    return {
        **version.headers,
        **written(version),
        "Content-Length": str(version.size),
        "Accept-Ranges": "bytes",
        "x-ms-blob-type": version.kind,
        "x-ms-creation-time": http_date(version.created_at),
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        "x-ms-server-encrypted": "true",
        **dict(_kind_headers(blob, version)),
        **{f"{_META}{name}": value for name, value in version.metadata.items()},
    }


def written(version: Version) -> dict[str, str]:
    """What a write answers."""
    headers = {"ETag": version.etag, "Last-Modified": http_date(version.modified_at)}
    return headers | ({"x-ms-version-id": version.version_id} if version.version_id else {})


def _kind_headers(blob: Blob, version: Version) -> Iterator[tuple[str, str]]:
    if version.kind == "AppendBlob":
        yield "x-ms-blob-committed-block-count", str(len(version.blocks))
    else:
        yield "x-ms-access-tier", "Hot"
        yield "x-ms-access-tier-inferred", "true"
    if version.version_id and version is blob.current:
        yield "x-ms-is-current-version", "true"
    if version.legal_hold:
        yield "x-ms-legal-hold", "true"
    if version.retention:
        yield "x-ms-immutability-policy-until-date", http_date(version.retention.until)
        yield "x-ms-immutability-policy-mode", version.retention.mode


def container_headers(container: Container) -> dict[str, str]:
    """What a read of a container's properties answers."""
    return {
        "ETag": container.etag,
        "Last-Modified": http_date(container.modified_at),
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        **{name: str(value).lower() for name, value in _immutability(container).items()},
        **{f"{_META}{name}": value for name, value in container.metadata.items()},
    }


def _immutability(container: Container) -> dict[str, bool]:
    return {
        "x-ms-has-immutability-policy": container.policy is not None,
        "x-ms-has-legal-hold": bool(container.holds),
        "x-ms-immutable-storage-with-versioning-enabled": container.version_level,
    }


def container_element(container: Container) -> ET.Element:
    """A container in a listing."""
    element = ET.Element("Container")
    ET.SubElement(element, "Name").text = container.name
    properties = ET.SubElement(element, "Properties")
    fill(
        properties,
        {
            "Last-Modified": http_date(container.modified_at),
            "Etag": container.etag,
            "LeaseStatus": "unlocked",
            "LeaseState": "available",
            "HasImmutabilityPolicy": _bool(container.policy is not None),
            "HasLegalHold": _bool(bool(container.holds)),
            "ImmutableStorageWithVersioningEnabled": _bool(container.version_level),
        },
    )
    return element


def blob_element(blob: Blob, version: Version, *, snapshot: str, include: frozenset[str]) -> ET.Element:
    """A version or snapshot in a listing."""
    element = ET.Element("Blob")
    ET.SubElement(element, "Name").text = blob.name
    if snapshot:
        ET.SubElement(element, "Snapshot").text = snapshot
    if version.version_id and not snapshot and "versions" in include:
        ET.SubElement(element, "VersionId").text = version.version_id
        if version is blob.current:
            ET.SubElement(element, "IsCurrentVersion").text = "true"
    fill(ET.SubElement(element, "Properties"), dict(_element_values(version, include)))
    if "metadata" in include:
        fill(ET.SubElement(element, "Metadata"), version.metadata)
    return element


def _element_values(version: Version, include: frozenset[str]) -> Iterator[tuple[str, str]]:
    yield "Creation-Time", http_date(version.created_at)
    yield "Last-Modified", http_date(version.modified_at)
    yield "Etag", version.etag.strip('"')
    yield "Content-Length", str(version.size)
    yield from version.headers.items()
    yield "BlobType", version.kind
    yield "LeaseStatus", "unlocked"
    yield "LeaseState", "available"
    yield "ServerEncrypted", "true"
    if version.retention and "immutabilitypolicy" in include:
        yield "ImmutabilityPolicyUntilDate", http_date(version.retention.until)
        yield "ImmutabilityPolicyMode", version.retention.mode.lower()
    if version.legal_hold and "legalhold" in include:
        yield "LegalHold", "true"


def fill(element: ET.Element, values: Mapping[str, str]) -> None:
    """Add a child for each value."""
    for name, value in values.items():
        ET.SubElement(element, name).text = value


def _bool(value: bool) -> str:  # noqa: FBT001 - the one value that is written
    return str(value).lower()
