"""Correct what moto gets wrong: guards that refuse before it acts, replaced operations, and patches."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from drills.sandbox.aws.stubs import StubRequest

Guard = Callable[[StubRequest], None]
_guards: dict[tuple[str, str], list[Guard]] = {}


def guard(service: str, *operations: str) -> Callable[[Guard], Guard]:
    """Let the decorated function refuse these operations, by raising ApiError, before the emulator acts."""

    def register(check: Guard) -> Guard:
        for operation in operations:
            _guards.setdefault((service, operation), []).append(check)
        return check

    return register


def check_guards(request: StubRequest) -> None:
    """Refuse what AWS would refuse and moto would not."""
    for check in _guards.get((request.service, request.operation), ()):
        check(request)


def apply_corrections() -> None:
    """Import every module of this package, which registers and applies its corrections."""
    for module in pkgutil.iter_modules(__path__):
        imported: Any = importlib.import_module(f"{__name__}.{module.name}")
        if hasattr(imported, "apply"):
            imported.apply()
