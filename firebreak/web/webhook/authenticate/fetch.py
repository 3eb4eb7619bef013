"""The one way in which authentication reads from the network: a pinned URL, no redirects, little data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx

from firebreak.errors import FirebreakError

Fetch = Callable[[str], Awaitable[bytes]]
"""Reads a public key from a URL that our configuration, or a strict pattern, allows."""

MAX_BYTES = 128 * 1024
TIMEOUT_SECONDS = 3.0


class FetchError(FirebreakError):
    """A public key could not be read."""


async def fetch(url: str) -> bytes:
    """The body of a 200; raises FetchError for anything else. Redirects are not followed."""
    try:
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", url) as response,
        ):
            return await _body(response)
    except httpx.HTTPError as error:
        raise FetchError(f"{type(error).__name__}: {error}", resource=url) from error


async def _body(response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise FetchError(f"answered {response.status_code}", resource=str(response.url))
    body = b""
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_BYTES:
            raise FetchError("the answer is too large for a key", resource=str(response.url))
    return body
