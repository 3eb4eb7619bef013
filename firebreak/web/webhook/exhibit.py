"""What is kept of a request: its raw bytes, their hash, and its headers without secrets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from firebreak.exhibit0 import packed
from firebreak.record import Received as Reference
from firebreak.web.webhook.fields import clean
from firebreak.web.webhook.request import Received

_SECRET = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "x-forwarded-authorization"}
)
_MAX_HEADERS = 60
_MAX_VALUE = 2048


@dataclass(frozen=True)
class Exhibit:
    """One request, ready to be kept."""

    packed: bytes
    sha256: str
    size: int
    headers: tuple[tuple[str, str], ...]

    def reference(self, delivery: str) -> Reference:
        """What a run is told of it."""
        return Reference(delivery=delivery, sha256=self.sha256, size=self.size)


def exhibit(request: Received, secret_headers: frozenset[str]) -> Exhibit:
    """Hash and compress a request's body; secrets in its headers are named and not shown."""
    secret = _SECRET | secret_headers
    return Exhibit(
        packed=packed(request.body),
        sha256=hashlib.sha256(request.body).hexdigest(),
        size=len(request.body),
        headers=tuple(
            (clean(name)[:_MAX_VALUE], "[removed]" if name in secret else clean(value)[:_MAX_VALUE])
            for name, value in request.headers[:_MAX_HEADERS]
        ),
    )
