"""One request to a played host, and its answer."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from drills.sandbox.azure import ids
from drills.sandbox.azure.errors import ArmError

if TYPE_CHECKING:
    from drills.sandbox.azure.table import Operation

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Principal:
    """Whoever's token signed a call."""

    object_id: str
    tenant_id: str
    app_id: str
    name: str
    roles: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What the caller gets: JSON for a dict or list, bytes and text as they are."""

    status: int = 200
    body: JsonObject | list[Any] | bytes | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """One request: `host` is its kind, `hostname` the name that was called."""

    host: str
    hostname: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""
    params: Mapping[str, str] = field(default_factory=dict)
    operation: Operation | None = None
    principal: Principal | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def account(self) -> str:
        """The first label of the host: the storage account, registry, vault or namespace."""
        return self.hostname.split(".", 1)[0]

    @property
    def version(self) -> str:
        """The api-version asked for."""
        return next((value for name, value in self.query.items() if name.lower() == "api-version"), "")

    @property
    def resource_id(self) -> str:
        """The ARM id this call addresses, in the caller's casing, without an action or collection name."""
        return ids.without_action(self.path)

    @property
    def subscription(self) -> str:
        """The subscription this call is about."""
        return ids.subscription_of(self.path) or ""

    @property
    def caller(self) -> Principal:
        """The principal of an authenticated call."""
        if self.principal is None:
            raise ArmError(401, "AuthenticationFailed", "Authentication failed.")
        return self.principal

    @cached_property
    def body(self) -> JsonObject:
        """The JSON object that was sent; an empty one when nothing was."""
        if not self.raw.strip():
            return {}
        try:
            document = json.loads(self.raw)
        except ValueError as error:
            message = "The request content was invalid and could not be deserialized."
            raise ArmError(400, "InvalidRequestContent", message) from error
        if not isinstance(document, dict):
            raise ArmError(400, "InvalidRequestContent", "The request content must be a JSON object.")
        return document

    def url(self, path: str | None = None, query: Mapping[str, str] | None = None) -> str:
        """Return an address on the host that was called."""
        text = f"https://{self.hostname}{quote(self.path if path is None else path, safe=_PATH_SAFE)}"
        return f"{text}?{urlencode(query)}" if query else text

    def require(self, action: str, scope: str | None = None, *, data: bool = False) -> None:
        """Refuse the call unless its caller holds this further permission."""
        from drills.sandbox.azure import rbac  # noqa: PLC0415 - the evaluator reads calls

        rbac.check(self.caller, action, self.resource_id if scope is None else scope, data=data)


_PATH_SAFE = "/()',$@!*;:=+~"
