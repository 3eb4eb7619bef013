"""Plain HTTPS requests with a bearer token: the part that ARM, Graph and the data planes have in common."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from firebreak.errors import PermanentCloudError
from firebreak.model import JsonObject
from providers.azure.answers import NOT_FOUND, TOO_MANY_REQUESTS, RestError
from providers.azure.credentials import Environment, correlation, environment

PAUSES_SECONDS = (0.1, 0.5)
"""Between attempts; a Retry-After wins. Temporal owns the long retries, these only span a hiccup."""
ATTEMPTS = len(PAUSES_SECONDS) + 1
LONGEST_WAIT_SECONDS = 5.0
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
HTTPS_PORT = 443

Headers = Mapping[str, str]
Query = Mapping[str, str | int]


@dataclass(frozen=True)
class Rest:
    """One service under one address. Errors are ``RestError``; wrap calls in ``translated``."""

    base: str
    token: Callable[[], str] | None
    """Gives the bearer token of each request; None for none."""

    def request(  # noqa: PLR0913 - the parts of an HTTP request, all optional
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Headers | None = None,
        json: Any = None,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send one request and return its answer; raises RestError for every error status."""
        client = http_client(environment())
        made = client.build_request(
            method,
            self.url(path),
            params=dict(query) if query else None,
            headers={**self._own_headers(), **(headers or {})},
            json=json,
            content=content,
            data=dict(form) if form else None,
        )
        return _send(client, made)

    @contextmanager
    def stream(self, method: str, path: str, *, headers: Headers | None = None) -> Iterator[httpx.Response]:
        """Send one request and lend its answer before the body is read; raises RestError."""
        client = http_client(environment())
        with client.stream(
            method, self.url(path), headers={**self._own_headers(), **(headers or {})}
        ) as answer:
            if not answer.is_success:
                answer.read()
                raise RestError.of(answer)
            yield answer

    def find(self, path: str, *, query: Query | None = None) -> JsonObject | None:
        """Read a JSON object, or None when there is none."""
        try:
            return body_of(self.request("GET", path, query=query))
        except RestError as error:
            if error.status != NOT_FOUND:
                raise
            return None

    def url(self, path: str) -> str:
        """The full address; raises PermanentCloudError for another host, which must not see the token."""
        if "://" not in path:
            return f"{self.base}/{path.lstrip('/')}"
        if origin(path) != origin(self.base):
            raise PermanentCloudError(
                f"the service points to {origin(path)}, where its token must not go", resource=self.base
            )
        return path

    def _own_headers(self) -> dict[str, str]:
        own = correlation()
        return {**own, "Authorization": f"Bearer {self.token()}"} if self.token else own


def origin(url: str) -> str:
    """Return scheme, host and port of an address, the default port left out."""
    parts = urlsplit(url)
    port = "" if parts.port in {None, HTTPS_PORT} else f":{parts.port}"
    return f"{parts.scheme}://{(parts.hostname or '').lower()}{port}"


def body_of(answer: httpx.Response) -> JsonObject:
    """Read the JSON object of an answer, empty where it has no body."""
    if not answer.content:
        return {}
    try:
        found = answer.json()
    except ValueError as error:
        raise RestError(answer.status_code, "", "the answer is not JSON") from error
    return found if isinstance(found, dict) else {"value": found}


@lru_cache(maxsize=8)
def http_client(_: Environment) -> httpx.Client:
    """Return the shared client of one environment; it follows no redirects, which might leak a token."""
    # httpx knows SSL_CERT_FILE; the SDKs, which use requests, REQUESTS_CA_BUNDLE: one setting is enough.
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    return httpx.Client(
        verify=ssl.create_default_context(cafile=bundle) if bundle else True,
        timeout=httpx.Timeout(30, connect=5),
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
    )


def _send(client: httpx.Client, made: httpx.Request) -> httpx.Response:
    attempt = 1
    while True:
        wait = PAUSES_SECONDS[min(attempt, len(PAUSES_SECONDS)) - 1]
        try:
            answer = client.send(made)
            if answer.is_success:
                return answer
            wait = _retry_after(answer, wait)
            if attempt == ATTEMPTS or not _repeatable(answer, made) or wait > LONGEST_WAIT_SECONDS:
                raise RestError.of(answer)
        except httpx.TransportError as error:
            if attempt == ATTEMPTS or not _unsent(error, made):
                raise
        time.sleep(wait)
        attempt += 1


def _unsent(error: httpx.TransportError, made: httpx.Request) -> bool:
    return made.method in REPEATABLE or isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


def _repeatable(answer: httpx.Response, made: httpx.Request) -> bool:
    if answer.status_code == TOO_MANY_REQUESTS:
        return True  # refused before anything was done
    return answer.status_code in RETRIED_STATUSES and made.method in REPEATABLE


def _retry_after(answer: httpx.Response, default: float) -> float:
    return seconds(answer.headers.get("Retry-After", ""), default)


def seconds(header: str, default: float) -> float:
    """Read a Retry-After in seconds; its other form, a date, is left to the default."""
    try:
        return max(float(header), 0.0) if header else default
    except ValueError:
        return default
