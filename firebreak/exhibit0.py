"""Exhibit 0: the raw alert and its headers, moved from the delivery that brought them into the evidence."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib

from firebreak.delivery import DeliveryInput
from firebreak.errors import EvidenceError
from firebreak.evidence.layout import payload_key
from firebreak.evidence.vault import Vault
from firebreak.model import Stored
from firebreak.record import Received

MAX_BYTES = 1024 * 1024
"""No body that the webhook takes is larger (FIREBREAK_WEB__MAX_BODY_BYTES)."""


def packed(body: bytes) -> bytes:
    """Compress a raw body; the same bytes always give the same result."""
    return gzip.compress(body, mtime=0)


def unpacked(delivery: DeliveryInput) -> bytes:
    """The raw bytes of a delivery; raises EvidenceError when they are not what was hashed."""
    try:
        body = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(delivery.body, MAX_BYTES + 1)
    except zlib.error as error:
        raise EvidenceError("the raw alert cannot be unpacked", resource=delivery.reference) from error
    if hashlib.sha256(body).hexdigest() != delivery.sha256:
        raise EvidenceError("the raw alert does not have the hash it came with", resource=delivery.reference)
    return body


def names(number: int) -> tuple[str, str]:
    """The evidence ids of one alert: its bytes and its headers."""
    return f"trigger/raw-{number}.bin", f"trigger/headers-{number}.json"


def keep(
    vault: Vault, incident_id: str, number: int, received: Received, delivery: DeliveryInput
) -> tuple[Stored, ...]:
    """Store the bytes and the headers of one alert; raises EvidenceError when they are not the run's."""
    body = unpacked(delivery)
    if delivery.sha256 != received.sha256:
        raise EvidenceError(
            "the delivery is not the one that the run was told of", resource=received.delivery
        )
    about = {
        "source": delivery.source,
        "finding": delivery.finding,
        "caller": delivery.caller,
        "received_at": delivery.received_at.isoformat(),
        "sha256": delivery.sha256,
        "size": delivery.size,
        "headers": [list(pair) for pair in delivery.headers],
    }
    raw, headers = (payload_key(incident_id, name) for name in names(number))
    return (
        vault.put(raw, body, media_type="application/octet-stream"),
        vault.put(headers, json.dumps(about, indent=1).encode()),
    )
