"""Honour If-Match and If-None-Match (RFC 9110, section 13.1)."""

from __future__ import annotations

from drills.sandbox.azure.call import Call
from drills.sandbox.azure.errors import ArmError


def check(call: Call, current: str | None) -> None:
    """Refuse the call with 412 when the resource is not in the state its caller expects."""
    wanted, unwanted = call.headers.get("if-match"), call.headers.get("if-none-match")
    if wanted is not None and not _names(wanted, current):
        raise _failed("If-Match")
    if unwanted is not None and call.method not in {"GET", "HEAD"} and _names(unwanted, current):
        raise _failed("If-None-Match")


def _names(header: str, current: str | None) -> bool:
    if current is None:
        return False
    tags = {_opaque(tag) for tag in header.split(",")}
    return "*" in tags or _opaque(current) in tags


def _opaque(tag: str) -> str:
    return tag.strip().removeprefix("W/").strip('"')


def _failed(header: str) -> ArmError:
    return ArmError(412, "PreconditionFailed", f"Precondition failed: the condition of {header} is not met.")
