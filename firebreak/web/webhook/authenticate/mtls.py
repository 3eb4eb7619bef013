"""A client certificate: of this process's own handshake, or passed on by an ingress that is trusted."""

from __future__ import annotations

import hashlib
from ipaddress import ip_address, ip_network
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from firebreak.web.webhook.configuration import MtlsMode
from firebreak.web.webhook.request import Caller, Received, UnauthenticatedError


class ClientCertificate:
    """Pins certificates by their SHA-256; whoever did the handshake has verified the chain."""

    secret_headers: frozenset[str] = frozenset()

    def __init__(self, mode: MtlsMode, trusted_proxies: tuple[str, ...]) -> None:
        self._mode = mode
        self._pinned = {each.lower().replace(":", "") for each in mode.certificates}
        self._proxies = [ip_network(each, strict=False) for each in trusted_proxies]

    async def authenticate(self, request: Received) -> Caller:
        """The certificate of the caller, when it is a pinned one and valid now."""
        certificate = self._passed_on(request) if self._mode.header else _parsed(request.certificate)
        digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
        if digest not in self._pinned:
            raise UnauthenticatedError("the client certificate is not a pinned one")
        if not certificate.not_valid_before_utc <= request.received_at <= certificate.not_valid_after_utc:
            raise UnauthenticatedError("the client certificate is not valid now")
        return Caller(name=f"certificate {digest[:16]}")

    def _passed_on(self, request: Received) -> x509.Certificate:
        """From the header of an ingress; whoever else sends that header is lying."""
        if not self._trusted(request.peer):
            raise UnauthenticatedError(f"{request.peer} is no trusted ingress")
        return _parsed(unquote_to_bytes(request.header(self._mode.header).replace("+", "%2B")))

    def _trusted(self, peer: str) -> bool:
        try:
            return any(ip_address(peer) in network for network in self._proxies)
        except ValueError:  # a peer without an address, such as a Unix socket
            return False


def _parsed(raw: bytes | None) -> x509.Certificate:
    if not raw:
        raise UnauthenticatedError("there is no client certificate")
    try:
        pem = raw.lstrip().startswith(b"-----BEGIN")
        return x509.load_pem_x509_certificate(raw) if pem else x509.load_der_x509_certificate(raw)
    except ValueError as error:
        raise UnauthenticatedError("the client certificate cannot be read") from error
