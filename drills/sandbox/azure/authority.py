"""The private authority whose certificate makes clients trust the played hosts."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from drills.sandbox.azure import hosts


class Authority:
    """Issue the server's certificate; the authority's key never leaves this process."""

    def __init__(self) -> None:
        """Make a new authority."""
        self._authority = trustme.CA(organization_name="Firebreak sandbox")

    def write_certificate(self, path: Path) -> None:
        """Write what clients must trust."""
        self._authority.cert_pem.write_to_path(path)

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS settings of a server that is every played host."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*hosts.certificate_names()).configure_cert(context)
        return context
