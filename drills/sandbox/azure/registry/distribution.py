"""Push, pull and delete images.

Source: Open Container Initiative, "Distribution Specification"; locks as in "Lock container images".
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from urllib.parse import quote

from drills.sandbox.azure.call import Answer, Call
from drills.sandbox.azure.registry.model import Manifest, Repository, registry_error
from drills.sandbox.azure.registry.tokens import authorize, registry_of
from drills.sandbox.azure.state import on_reset
from drills.sandbox.azure.table import operation

SOURCE = "OCI Distribution Specification"
_RANGE = re.compile(r"^bytes=(\d+)-(\d*)$")
_uploads: dict[str, bytes] = {}
on_reset(_uploads.clear)


def _existing(call: Call, right: str) -> Repository:
    authorize(call, call.params["name"], right)
    return registry_of(call).repository(call.params["name"])


def _pushed_to(call: Call) -> Repository:
    """The repository, made by the first push to it."""
    name = call.params["name"]
    authorize(call, name, "push")
    return registry_of(call).repositories.setdefault(name, Repository(name))


@operation("acr", "GET", "/v2/{name:path}/manifests/{reference}", authenticated=False, source=SOURCE)
@operation("acr", "HEAD", "/v2/{name:path}/manifests/{reference}", authenticated=False, source=SOURCE)
def pull_manifest(call: Call) -> Answer:
    """Return a manifest that may be read."""
    repository = _existing(call, "pull")
    manifest = repository.resolve(call.params["reference"])
    tag = repository.tags.get(call.params["reference"])
    repository.check("readEnabled", manifest, *([tag] if tag else []))
    headers = {
        "Content-Type": manifest.media_type,
        "Docker-Content-Digest": manifest.digest,
        "Content-Length": str(len(manifest.body)),
        "ETag": f'"{manifest.digest}"',
    }
    return Answer(200, b"" if call.method == "HEAD" else manifest.body, headers)


@operation("acr", "PUT", "/v2/{name:path}/manifests/{reference}", authenticated=False, source=SOURCE)
def push_manifest(call: Call) -> Answer:
    """Store a manifest whose parts are there."""
    repository = _pushed_to(call)
    registry = registry_of(call)
    media_type = call.headers.get("content-type", "application/vnd.oci.image.manifest.v1+json")
    manifest = Manifest(call.raw, media_type, quarantine_state="Quarantined" if registry.quarantine else "")
    repository.check("writeEnabled")
    _check_parts(repository, call.raw)
    reference = call.params["reference"]
    if reference.startswith("sha256:") and reference != manifest.digest:
        raise registry_error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
    repository.push(reference, manifest)
    headers = {
        "Docker-Content-Digest": manifest.digest,
        "Location": f"/v2/{repository.name}/manifests/{manifest.digest}",
    }
    return Answer(201, None, headers)


def _check_parts(repository: Repository, body: bytes) -> None:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise registry_error(400, "MANIFEST_INVALID", "manifest invalid") from error
    parts = [document.get("config") or {}, *(document.get("layers") or [])]
    missing = [part["digest"] for part in parts if part and part.get("digest") not in repository.blobs]
    if missing:
        raise registry_error(404, "MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {missing[0]}")


@operation("acr", "DELETE", "/v2/{name:path}/manifests/{reference}", authenticated=False, source=SOURCE)
def delete_manifest(call: Call) -> Answer:
    """Delete a manifest and its tags."""
    _existing(call, "delete").delete_manifest(call.params["reference"])
    return Answer(202)


@operation("acr", "GET", "/v2/{name:path}/blobs/{digest}", authenticated=False, source=SOURCE)
@operation("acr", "HEAD", "/v2/{name:path}/blobs/{digest}", authenticated=False, source=SOURCE)
def pull_blob(call: Call) -> Answer:
    """Return a layer or configuration."""
    repository = _existing(call, "pull")
    repository.check("readEnabled")
    body = repository.blobs.get(call.params["digest"])
    if body is None:
        raise registry_error(404, "BLOB_UNKNOWN", "blob unknown to registry")
    headers = {
        "Docker-Content-Digest": call.params["digest"],
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(body)),
    }
    wanted = _RANGE.match(call.headers.get("range", ""))
    if wanted is None:
        return Answer(200, b"" if call.method == "HEAD" else body, headers)
    start, end = int(wanted[1]), min(int(wanted[2] or len(body) - 1), len(body) - 1)
    part = body[start : end + 1]
    span = {"Content-Length": str(len(part)), "Content-Range": f"bytes {start}-{end}/{len(body)}"}
    return Answer(206, part, {**headers, **span})


@operation("acr", "POST", "/v2/{name:path}/blobs/uploads/", authenticated=False, source=SOURCE)
def start_upload(call: Call) -> Answer:
    """Begin an upload, or mount a blob that another repository has."""
    repository = _pushed_to(call)
    repository.check("writeEnabled")
    mount, source = call.query.get("mount", ""), call.query.get("from", "")
    other = registry_of(call).repositories.get(source)
    if mount and other is not None and mount in other.blobs:
        repository.blobs[mount] = other.blobs[mount]
        return Answer(201, None, {"Location": f"/v2/{repository.name}/blobs/{mount}"})
    upload = uuid.uuid4().hex
    _uploads[upload] = b""
    return Answer(202, None, _place(repository, upload))


@operation("acr", "PATCH", "/v2/{name:path}/blobs/uploads/{upload}", authenticated=False, source=SOURCE)
def upload_chunk(call: Call) -> Answer:
    """Add a chunk."""
    repository, upload = _pushed_to(call), call.params["upload"]
    _uploads[upload] = _begun(upload) + call.raw
    return Answer(202, None, _place(repository, upload))


@operation("acr", "PUT", "/v2/{name:path}/blobs/uploads/{upload}", authenticated=False, source=SOURCE)
def finish_upload(call: Call) -> Answer:
    """Keep the upload under its digest."""
    repository, upload = _pushed_to(call), call.params["upload"]
    repository.check("writeEnabled")
    body = _begun(upload) + call.raw
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if call.query.get("digest") != digest:
        raise registry_error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
    repository.blobs[digest] = body
    del _uploads[upload]
    headers = {
        "Docker-Content-Digest": digest,
        "Location": f"/v2/{repository.name}/blobs/{quote(digest)}",
    }
    return Answer(201, None, headers)


def _begun(upload: str) -> bytes:
    if upload not in _uploads:
        raise registry_error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
    return _uploads[upload]


def _place(repository: Repository, upload: str) -> dict[str, str]:
    return {
        "Location": f"/v2/{repository.name}/blobs/uploads/{upload}",
        "Docker-Upload-UUID": upload,
        "Range": f"0-{max(len(_uploads[upload]) - 1, 0)}",
    }
