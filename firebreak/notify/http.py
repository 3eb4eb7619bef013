"""HTTP for channels: a client is cheap, since all of them share what is expensive about TLS."""

from __future__ import annotations

import ssl
from functools import lru_cache

import httpx


def client(timeout: float) -> httpx.AsyncClient:
    """A client for one message."""
    return httpx.AsyncClient(timeout=timeout, verify=_trust())


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    """The certificates that are trusted, read once: it holds the event loop for tens of milliseconds."""
    return httpx.create_ssl_context()
