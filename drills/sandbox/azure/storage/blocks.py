"""Blobs by their parts over the data plane: block lists and appends.

Source: Azure Storage REST API, "Put Block", "Put Block List", "Get Block List", "Append Block".
"""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

from drills.sandbox.azure.storage.blobs import append_blob
from drills.sandbox.azure.storage.conditions import check_append, check_write
from drills.sandbox.azure.storage.errors import BlobError
from drills.sandbox.azure.storage.model import Version
from drills.sandbox.azure.storage.objects import check_protection, check_transfer, current
from drills.sandbox.azure.storage.properties import fill, headers_of, metadata_of, protection_of, written
from drills.sandbox.azure.storage.service import ADD, READ, WRITE, Asked, Given, operation


@operation("PUT", "blob", "block", actions=(WRITE,))
def put_block(asked: Asked) -> Given:
    """Keep a block until it is committed."""
    digest = check_transfer(asked)
    block_id = asked.query.get("blockid", "")
    if not block_id:
        raise BlobError(
            400, "MissingRequiredQueryParameter", "A required query parameter was not specified: blockid."
        )
    asked.store.stage(asked.account, asked.container, asked.name, block_id, asked.body)
    return Given(201, {"Content-MD5": digest, "x-ms-request-server-encrypted": "true"})


@operation("PUT", "blob", "blocklist", actions=(WRITE,))
def put_block_list(asked: Asked) -> Given:
    """Make a blob of blocks."""
    check_transfer(asked)
    check_write(asked.headers, current(asked))
    protection = protection_of(asked.headers)
    check_protection(asked, protection)
    made = Version(
        kind="BlockBlob",
        metadata=metadata_of(asked.headers),
        headers=headers_of(asked.headers),
        **protection,
    )
    version = asked.store.commit(asked.account, asked.container, asked.name, _wanted(asked.body), made)
    return Given(201, written(version) | {"x-ms-request-server-encrypted": "true"})


def _wanted(body: bytes) -> list[tuple[str, str]]:
    try:
        root = ET.fromstring(body)  # noqa: S314 - written by our own clients
    except ET.ParseError as error:
        raise BlobError(400, "InvalidXmlDocument", "XML specified is not syntactically valid.") from error
    return [(each.tag, each.text or "") for each in root]


@operation("GET", "blob", "blocklist", actions=(READ,))
def get_block_list(asked: Asked) -> Given:
    """List the blocks of a blob."""
    container = asked.store.container(asked.account, asked.container)
    blob = container.blobs.get(asked.name)
    if blob is None:
        raise BlobError(404, "BlobNotFound", "The specified blob does not exist.")
    root = ET.Element("BlockList")
    committed = ET.SubElement(root, "CommittedBlocks")
    for block in blob.current.blocks if blob.current else ():
        fill(ET.SubElement(committed, "Block"), {"Name": block.block_id, "Size": str(block.segment.size)})
    uncommitted = ET.SubElement(root, "UncommittedBlocks")
    for block_id, segment in blob.uncommitted.items():
        fill(ET.SubElement(uncommitted, "Block"), {"Name": block_id, "Size": str(segment.size)})
    body = b'<?xml version="1.0" encoding="utf-8"?>' + ET.tostring(root, encoding="utf-8")
    return Given(200, {"Content-Type": "application/xml"}, body)


@operation("PUT", "blob", "appendblob", actions=(WRITE, ADD))
def put_append_blob(asked: Asked) -> Given:
    """Make an empty append blob."""
    check_write(asked.headers, current(asked))
    protection = protection_of(asked.headers)
    check_protection(asked, protection)
    made = append_blob(metadata=metadata_of(asked.headers), headers=headers_of(asked.headers), **protection)
    version = asked.store.put(asked.account, asked.container, asked.name, made)
    return Given(201, written(version) | {"x-ms-request-server-encrypted": "true"})


@operation("PUT", "blob", "appendblock", actions=(WRITE, ADD))
def append_block(asked: Asked) -> Given:
    """Add a block to the end of an append blob."""
    digest = check_transfer(asked)
    before = asked.store.version(asked.account, asked.container, asked.name)
    check_write(asked.headers, before)
    check_append(asked.headers, before, len(asked.body))
    version = asked.store.append(asked.account, asked.container, asked.name, asked.body)
    return Given(
        201,
        written(replace(version, version_id=""))
        | {
            "Content-MD5": digest,
            "x-ms-blob-append-offset": str(before.size),
            "x-ms-blob-committed-block-count": str(len(version.blocks)),
            "x-ms-request-server-encrypted": "true",
        },
    )
