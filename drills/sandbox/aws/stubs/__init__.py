"""Register operations the emulator lacks or gets wrong; every module of this package is loaded at start."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drills.sandbox.aws.errors import ApiError


@dataclass(frozen=True)
class StubRequest:
    """One authorised call, its parameters named as in the AWS service model."""

    account: str
    region: str
    principal_arn: str
    service: str
    operation: str
    params: dict[str, Any]
    access_key_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class StubError(ApiError):
    """The AWS error a stub answers with."""


Handler = Callable[[StubRequest], dict[str, Any]]
Resource = Callable[[StubRequest], str]


@dataclass(frozen=True)
class Stub:
    """A handler with the resource that its authorisation is decided on."""

    handler: Handler
    resource: Resource | None = None


_stubs: dict[tuple[str, str], Stub] = {}


def stub(service: str, operation: str, *, resource: Resource | None = None) -> Callable[[Handler], Handler]:
    """Serve `operation` of the boto3 client `service` with the decorated handler.

    The handler runs under the emulator lock, after authorisation, and returns the response members.
    """

    def register(handler: Handler) -> Handler:
        _stubs[service, operation] = Stub(handler, resource)
        return handler

    return register


def find_stub(service: str, operation: str) -> Stub | None:
    """Return the stub of an operation."""
    return _stubs.get((service, operation))


def load_stubs() -> None:
    """Import every module of this package, which registers its stubs."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
