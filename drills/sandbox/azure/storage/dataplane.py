"""Serve ``<account>.blob.core.windows.net``: who asks, whether it may, what is asked, and the answer's words.

Source: Azure Storage REST API, "Authorize requests to Azure Storage", "Status and error codes", "Common
response headers".
"""

from __future__ import annotations

from http import HTTPStatus
from xml.etree import ElementTree as ET

from drills.sandbox.azure import clock
from drills.sandbox.azure.call import Answer, Call
from drills.sandbox.azure.errors import ArmError, envelope
from drills.sandbox.azure.names import namer
from drills.sandbox.azure.storage import blocks, containers, objects
from drills.sandbox.azure.storage.authorization import authorize
from drills.sandbox.azure.storage.blobs import blob_store
from drills.sandbox.azure.storage.errors import BlobError
from drills.sandbox.azure.storage.properties import http_date
from drills.sandbox.azure.storage.service import Asked, find
from drills.sandbox.azure.table import operation

__all__ = ["blocks", "containers", "objects", "serve"]  # imported for the operations they register

SOURCE = "Azure Storage REST API, Blob service REST API"
VERSION = "2026-10-06"
_OLDEST = "2017-11-09"  # "Authorize with Microsoft Entra ID": the first version that takes bearer tokens
_UNTRUSTED = "Server failed to authenticate the request. Please refer to the www-authenticate header."
_WORDS = {
    "AuthorizationFailed": (
        "AuthorizationPermissionMismatch",
        "This request is not authorized to perform this operation using this permission.",
    ),
    "ExpiredAuthenticationToken": (
        "AuthenticationFailed",
        _UNTRUSTED,
    ),
    "InvalidAuthenticationToken": (
        "InvalidAuthenticationInfo",
        _UNTRUSTED,
    ),
}


@operation("blob", "GET", "/", authenticated=False, source=SOURCE)
@operation("blob", "HEAD", "/", authenticated=False, source=SOURCE)
@operation("blob", "PUT", "/", authenticated=False, source=SOURCE)
@operation("blob", "POST", "/", authenticated=False, source=SOURCE)
@operation("blob", "GET", "/{container}", authenticated=False, source=SOURCE)
@operation("blob", "HEAD", "/{container}", authenticated=False, source=SOURCE)
@operation("blob", "PUT", "/{container}", authenticated=False, source=SOURCE)
@operation("blob", "DELETE", "/{container}", authenticated=False, source=SOURCE)
@operation("blob", "GET", "/{container}/{name:path}", authenticated=False, source=SOURCE)
@operation("blob", "HEAD", "/{container}/{name:path}", authenticated=False, source=SOURCE)
@operation("blob", "PUT", "/{container}/{name:path}", authenticated=False, source=SOURCE)
@operation("blob", "DELETE", "/{container}/{name:path}", authenticated=False, source=SOURCE)
def serve(call: Call) -> Answer:
    """Answer one request of the data plane."""
    _check_version(call)
    asked = _asked(call)
    row = find(call.method, asked)
    authorize(call, asked, row)
    given = row.handler(asked)
    return Answer(given.status, given.body, {**_common(call), **given.headers})


@namer("blob")
def name_of(call: Call) -> str:
    """Name the operation that method, resource and query ask for."""
    return find(call.method, _asked(call)).name


def _asked(call: Call) -> Asked:
    _, _, name = call.path.lstrip("/").partition("/")
    return Asked(
        store=blob_store,
        account=call.account,
        container=call.params.get("container", ""),
        name=name,
        query={key.lower(): value for key, value in call.query.items()},
        headers=call.headers,
        body=call.raw,
    )


def _check_version(call: Call) -> None:
    version = call.headers.get("x-ms-version", VERSION)
    if not _OLDEST <= version <= VERSION:
        raise BlobError(
            400, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format."
        )


def _common(call: Call) -> dict[str, str]:
    return {
        "x-ms-request-id": call.id,
        "x-ms-version": call.headers.get("x-ms-version", VERSION),
        "Date": http_date(clock.now()),
    }


@envelope("blob")
def worded(call: Call, error: ArmError) -> Answer:
    """Word an error as the blob service does; an answer to HEAD has no body, only the header."""
    code, message = _WORDS.get(error.code, (error.code, error.message))
    root = ET.Element("Error")
    ET.SubElement(root, "Code").text = code
    ET.SubElement(root, "Message").text = f"{message}\nRequestId:{call.id}\nTime:{clock.stamp()}"
    body = b'<?xml version="1.0" encoding="utf-8"?>' + ET.tostring(root, encoding="utf-8")
    headers = {"x-ms-error-code": code, "Content-Type": "application/xml", **_common(call), **error.headers}
    silent = call.method == "HEAD" or error.status == HTTPStatus.NOT_MODIFIED
    return Answer(error.status, b"" if silent else body, headers)
