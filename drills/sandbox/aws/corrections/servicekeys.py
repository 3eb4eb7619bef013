"""Serve the service-specific credentials of IAM users, which moto lacks.

Source: IAM API reference, CreateServiceSpecificCredential and its siblings.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.identities import Entity, live_view
from drills.sandbox.aws.state import on_reset
from drills.sandbox.aws.stubs import StubRequest, stub


@dataclass
class _Credential:
    """One credential of a user for one service."""

    user: Entity
    service: str
    status: str = "Active"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(33))
    identifier: str = field(default_factory=lambda: f"ACCA{secrets.token_hex(8).upper()}")
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def metadata(self) -> dict[str, Any]:
        """Return what may be listed."""
        return {
            "UserName": self.user.name,
            "Status": self.status,
            "ServiceUserName": f"{self.user.name}-at-{self.user.account}",
            "CreateDate": self.created_at,
            "ServiceSpecificCredentialId": self.identifier,
            "ServiceName": self.service,
        }


_credentials: dict[str, _Credential] = {}
on_reset(_credentials.clear)


def _user(request: StubRequest) -> Entity:
    name = request.params.get("UserName") or request.principal_arn.rpartition("/")[2]
    entity = Entity(request.account, "user", name)
    if live_view(entity) is None:
        raise ApiError("NoSuchEntity", f"The user with name {name} cannot be found.", 404)
    return entity


def _credential(request: StubRequest) -> _Credential:
    identifier = request.params["ServiceSpecificCredentialId"]
    found = _credentials.get(identifier)
    if found is None or found.user != _user(request):
        raise ApiError("NoSuchEntity", f"Service specific credential {identifier} does not exist.", 404)
    return found


@stub("iam", "CreateServiceSpecificCredential")
def create(request: StubRequest) -> dict[str, Any]:
    """Make a credential and show its password this once."""
    made = _Credential(_user(request), request.params["ServiceName"])
    _credentials[made.identifier] = made
    shown = {**made.metadata(), "ServicePassword": made.password}
    return {"ServiceSpecificCredential": shown}


@stub("iam", "ListServiceSpecificCredentials")
def list_all(request: StubRequest) -> dict[str, Any]:
    """List the credentials of a user, of one service or all."""
    user, service = _user(request), request.params.get("ServiceName")
    own = [item for item in _credentials.values() if item.user == user and service in {None, item.service}]
    return {"ServiceSpecificCredentials": [item.metadata() for item in own]}


@stub("iam", "UpdateServiceSpecificCredential")
def update(request: StubRequest) -> dict[str, Any]:
    """Switch a credential on or off."""
    _credential(request).status = request.params["Status"]
    return {}


@stub("iam", "DeleteServiceSpecificCredential")
def delete(request: StubRequest) -> dict[str, Any]:
    """Remove a credential."""
    del _credentials[_credential(request).identifier]
    return {}
