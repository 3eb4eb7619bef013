"""The file of alert sources: who may send, how it is proved, and what it may start (docs/webhooks.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator

from firebreak import yamlsource
from firebreak.errors import SettingsError
from firebreak.model import FrozenModel, Mode
from firebreak.web.webhook.sources import ADAPTERS

MIN_SECRET_BYTES = 24
"""The least that Standard Webhooks recommends for a symmetric secret."""


def _known_adapter(name: str) -> str:
    if name not in ADAPTERS:
        raise ValueError(f"is not one of {', '.join(ADAPTERS)}")
    return name


def _https(url: str) -> str:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if not (parts.scheme == "https" or local) or not parts.hostname:
        raise ValueError("must be an https URL")
    return url


Url = Annotated[str, AfterValidator(_https)]


class SecretRef(FrozenModel):
    """A secret by reference: the file of sources itself holds none."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    """Recorded with each alert that it authenticated."""
    env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _one_place(self) -> SecretRef:
        if (self.env is None) == (self.file is None):
            raise ValueError("needs either env or file")
        return self


Secrets = Annotated[tuple[SecretRef, ...], Field(min_length=1, max_length=5)]


class StandardMode(FrozenModel):
    """Standard Webhooks: several secrets, so that one can be replaced without a gap."""

    mode: Literal["standard_webhooks"]
    secrets: Secrets


class HmacMode(FrozenModel):
    """HMAC-SHA256 of the raw body in a header; the defaults are PagerDuty's."""

    mode: Literal["hmac"]
    secrets: Secrets
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "X-PagerDuty-Signature"
    prefix: str = "v1="
    encoding: Literal["hex", "base64"] = "hex"
    timestamp_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{0,64}$")] = ""
    """When set, ``<time>.<body>`` is signed, and the time is checked."""


class TokenMode(FrozenModel):
    """A static token: weak, so a person always has to confirm."""

    mode: Literal["static_token"]
    secrets: Secrets
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{0,64}$")] = "Authorization"
    query: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    """The parameter of the URL, for senders that cannot set a header."""


class MtlsMode(FrozenModel):
    """Client certificates, pinned by SHA-256."""

    mode: Literal["mtls"]
    certificates: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[0-9A-Fa-f:]{64,95}$")], ...], Field(min_length=1)
    ]
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{0,64}$")] = ""
    """Where the ingress puts the URL-encoded PEM; empty when this process does the handshake."""


class OidcMode(FrozenModel):
    """A bearer token of an identity provider."""

    mode: Literal["oidc"]
    issuer: str
    audiences: Annotated[tuple[str, ...], Field(min_length=1)]
    jwks_url: Url
    caller_claim: Literal["appid", "azp", "email", "sub", "oid"]
    callers: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    algorithms: Annotated[
        tuple[Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"], ...],
        Field(min_length=1),
    ] = ("RS256",)


class SnsMode(FrozenModel):
    """Amazon SNS, signature version 2, of certain topics."""

    mode: Literal["sns"]
    topics: Annotated[
        tuple[
            Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$")], ...
        ],
        Field(min_length=1),
    ]


Authentication = StandardMode | HmacMode | TokenMode | MtlsMode | OidcMode | SnsMode


class Source(FrozenModel):
    """One sender of alerts."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    """Its route is ``/hooks/<name>``."""
    adapter: Annotated[str, AfterValidator(_known_adapter)]
    authentication: Annotated[Authentication, Field(discriminator="mode")]
    workloads: Annotated[tuple[str, ...], Field(min_length=1)]
    """Patterns of workload ids (``*``, ``?``, ``[...]``) that it may ask to contain."""
    mode: Mode = Mode.LIVE
    """What it may start; a source of drills starts drills only."""
    starts: Literal["containment", "approval"] = "containment"
    """``approval``: a person has to confirm everything it asks for."""
    workloads_per_minute: Annotated[int, Field(ge=1, le=10_000)] = 60
    """Different workloads beyond that are contained only after a person was asked."""
    alerts_per_minute: Annotated[int, Field(ge=1, le=10_000)] = 120
    """For one workload; beyond that, 429."""
    pages_per_minute: Annotated[int, Field(ge=1, le=10_000)] = 30
    """Alerts that match no workload; beyond that, 429."""


class _File(FrozenModel):
    version: Literal[1]
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_differ(self) -> _File:
        if len({source.name for source in self.sources}) < len(self.sources):
            raise ValueError("two sources have the same name")
        return self


def load(path: Path) -> tuple[Source, ...]:
    """Read the file of sources; raises SettingsError or InventoryError naming the line of each problem."""
    document = yamlsource.read(path)
    try:
        return _File.model_validate(document.value).sources
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            document.complain(tuple(each["loc"]), each["msg"].removeprefix("Value error, "))
        document.refuse()
        raise


def resolved(refs: tuple[SecretRef, ...]) -> Mapping[str, SecretStr]:
    """The secrets themselves; raises SettingsError, without showing any, where one is missing or short."""
    secrets = {ref.id: _read(ref) for ref in refs}
    if len(secrets) < len(refs):
        raise SettingsError("two secrets of one source have the same id")
    return secrets


def _read(ref: SecretRef) -> SecretStr:
    where = ref.env or str(ref.file)
    try:
        value = os.environ[ref.env] if ref.env else Path(where).read_text(encoding="utf-8")
    except (KeyError, OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the secret {ref.id} cannot be read from {where}") from error
    value = value.strip()
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise SettingsError(
            f"the secret {ref.id} in {where} is shorter than {MIN_SECRET_BYTES} bytes",
            remedy="make one with: openssl rand -base64 32",
        )
    return SecretStr(value)
