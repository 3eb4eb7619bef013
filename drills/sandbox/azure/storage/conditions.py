"""Check the conditions of a request.

Source: Azure Storage REST API, "Specify conditional headers for Blob service operations".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from drills.sandbox.azure.storage.errors import BlobError
from drills.sandbox.azure.storage.model import Version


def check_read(headers: Mapping[str, str], version: Version) -> None:
    """Refuse a read whose conditions are not met: 412 where a change was feared, 304 where none came."""
    _check_match(headers, version)
    unchanged = headers.get("if-none-match") in (version.etag, "*") or _not_after(
        version, headers.get("if-modified-since")
    )
    if unchanged:
        raise BlobError(304, "ConditionNotMet", "")


def check_write(headers: Mapping[str, str], version: Version | None) -> None:
    """Refuse a write whose conditions are not met."""
    wanted_absent = headers.get("if-none-match")
    if version is None:
        if "if-match" in headers:
            raise _not_met()
        return
    if wanted_absent == "*":
        raise BlobError(409, "BlobAlreadyExists", "The specified blob already exists.")
    if wanted_absent == version.etag or _not_after(version, headers.get("if-modified-since")):
        raise _not_met()
    _check_match(headers, version)


def check_append(headers: Mapping[str, str], version: Version, size: int) -> None:
    """Refuse an append that is not at the wanted place, or makes the blob too long."""
    position = headers.get("x-ms-blob-condition-appendpos")
    if position is not None and int(position) != version.size:
        raise BlobError(
            412, "AppendPositionConditionNotMet", "The append position condition specified was not met."
        )
    most = headers.get("x-ms-blob-condition-maxsize")
    if most is not None and version.size + size > int(most):
        raise BlobError(
            412, "MaxBlobSizeConditionNotMet", "The max blob size condition specified was not met."
        )


def _check_match(headers: Mapping[str, str], version: Version) -> None:
    wanted = headers.get("if-match")
    if wanted not in (None, "*", version.etag):
        raise _not_met()
    since = headers.get("if-unmodified-since")
    if since is not None and version.modified_at.replace(microsecond=0) > _moment(since):
        raise _not_met()


def _not_after(version: Version, since: str | None) -> bool:
    return since is not None and version.modified_at.replace(microsecond=0) <= _moment(since)


def _moment(text: str) -> datetime:
    return parsedate_to_datetime(text)


def _not_met() -> BlobError:
    return BlobError(
        412,
        "ConditionNotMet",
        "The condition specified using HTTP conditional header(s) is not met.",
    )
