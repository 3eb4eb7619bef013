"""Name what is asked of hosts where method and path alone do not tell it, before anything is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drills.sandbox.azure.call import Call

Namer = Callable[["Call"], str]
_namers: dict[str, Namer] = {}


def namer(host: str) -> Callable[[Namer], Namer]:
    """Register what names the calls of a kind of host."""

    def register(name: Namer) -> Namer:
        _namers[host] = name
        return name

    return register


def settle(call: Call) -> None:
    """Note what a call asks for, where its host has more to say than its operation."""
    name = _namers.get(call.host)
    if name is not None:
        call.notes["operation"] = name(call)


def name_of(call: Call) -> str:
    """Return what a call asks for: noted, by its operation, or by method and path."""
    name = call.operation.name if call.operation else f"{call.method} {call.path}"
    return str(call.notes.get("operation", name))
