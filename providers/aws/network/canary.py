"""Use the workload owner's canary function: one TCP connection attempt from inside the VPC.

The function takes ``{"address", "port", "timeout"}`` and answers ``{"connected", "error", "source_address",
"source_port", "sent_at"}``; it is declared in the inventory as ``canary``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from firebreak.declarations import of_kind
from firebreak.errors import PermanentCloudError
from firebreak.model import JsonObject
from providers.aws.answers import translated
from providers.aws.network.interfaces import matching
from providers.aws.resources import Canary
from providers.aws.session import AwsAccess

TIMEOUT_SECONDS = 3


class Reach(StrEnum):
    """How far an attempt came."""

    CONNECTED = "connected"
    REFUSED = "refused by the host"
    """A reset came back, so the packet arrived."""
    TIMED_OUT = "timed out"
    UNKNOWN = "inconclusive"


@dataclass(frozen=True)
class Attempt:
    """What the canary saw."""

    reach: Reach
    told: str
    source_address: str = ""
    source_port: int = 0
    sent_at: str = ""

    @property
    def arrived(self) -> bool:
        """True when the packet reached the host and an answer came back."""
        return self.reach in (Reach.CONNECTED, Reach.REFUSED)

    def json(self, address: str, port: int) -> JsonObject:
        """The attempt for a state or a finding."""
        return {
            "address": address,
            "port": port,
            "reach": str(self.reach),
            "arrived": self.arrived,
            "told": self.told,
            "source_address": self.source_address,
            "source_port": self.source_port,
            "sent_at": self.sent_at,
        }


class CanaryFunction:
    """One declared canary."""

    def __init__(self, access: AwsAccess, canary: Canary) -> None:
        self._access = access
        self.ref = canary.ref
        self.port = canary.port

    @property
    def name(self) -> str:
        """The function's name without version or alias."""
        return self.ref.split(":function:", 1)[1].split(":", 1)[0]

    @property
    def described(self) -> str:
        """How the descriptions of its interfaces begin.

        (Lambda developer guide, "Giving functions access to resources in a VPC".)
        """
        return f"AWS Lambda VPC ENI-{self.name}-"

    def try_to_reach(self, address: str, port: int) -> Attempt:
        """Invoke the function once; raises for a function that cannot be invoked."""
        payload = {"address": address, "port": port, "timeout": TIMEOUT_SECONDS}
        with translated(self.ref):
            answer = self._access.client("lambda").invoke(
                FunctionName=self.ref, InvocationType="RequestResponse", Payload=json.dumps(payload).encode()
            )
            body = answer["Payload"].read()
        if answer.get("FunctionError"):
            return Attempt(Reach.UNKNOWN, f"the canary function failed: {answer['FunctionError']}")
        return _read(body, self.ref)

    def addresses(self) -> frozenset[str]:
        """The private addresses its packets come from."""
        found = matching(self._access, "description", f"{self.described}*")
        return frozenset(address for each in found for address in each.addresses)


def declared_canary(access: AwsAccess) -> CanaryFunction | None:
    """Return the workload's canary, or None where none is declared."""
    found = of_kind(access.run.workload.network, Canary)
    return CanaryFunction(access, found[0]) if found else None


def _read(body: bytes, ref: str) -> Attempt:
    try:
        told = json.loads(body)
        connected, error = bool(told["connected"]), str(told.get("error", ""))
    except (ValueError, KeyError, TypeError) as problem:
        raise PermanentCloudError("the canary function does not answer as agreed", resource=ref) from problem
    return Attempt(
        _reach(connected=connected, error=error),
        error or "connected",
        str(told.get("source_address") or ""),
        int(told.get("source_port") or 0),
        str(told.get("sent_at") or ""),
    )


def _reach(*, connected: bool, error: str) -> Reach:
    if connected:
        return Reach.CONNECTED
    text = error.lower()
    if "refused" in text or "reset" in text:
        return Reach.REFUSED
    return Reach.TIMED_OUT if "timed out" in text or "timeout" in text else Reach.UNKNOWN
