"""Changes that claim what never happened: what a broken or lying ``apply`` would report."""

from __future__ import annotations

from typing import Any

from firebreak.measure import Measure
from firebreak.model import Change, JsonObject, State, Target

CLAIMS: dict[str, JsonObject] = {
    "aws.revoke-sessions": {"cut_off": "2020-01-01T00:00:00Z"},
    "aws.open-investigation": {"investigations": {}},
    "aws.snapshot-volumes": {"snapshots": {}, "locks": {}},
    "azure.snapshot-disks": {"snapshots": {}, "locks": {}},
    "azure.capture-channel-messages": {"records": 0, "delivery_counts": {}},
}
"""What measures without a way back put into ``Change.after``; captures claim to have found no record."""


def hollowed(measure: Measure[Any], target: Target, state: State) -> Change:
    """The change of a measure that did nothing, in the shape of one that did."""
    return measure.done(target, state, changed=True, **CLAIMS.get(measure.name, {"records": 0}))
