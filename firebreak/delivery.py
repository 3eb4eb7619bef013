"""A delivery of an alert, as it is handed over once it is durable, and what became of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from firebreak.model import FrozenModel, IncidentId
from firebreak.record import ContainmentInput


class Settled(FrozenModel):
    """What became of a delivery: the run that it started or joined."""

    incident_id: str
    workflow_id: str
    run_id: str
    joined: bool


class DeliveryInput(FrozenModel):
    """One delivery of an alert, exactly as it came: the one place where raw bytes are in a history."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    reference: IncidentId
    """The incident it starts, or the name under which people find it."""
    source: str
    finding: str = ""
    caller: str
    """Who was authenticated, by name of the key or subject; never a secret."""
    received_at: AwareDatetime
    headers: tuple[tuple[str, str], ...]
    """As received, without secrets."""
    body: bytes
    """The raw bytes, compressed by gzip."""
    sha256: str
    """Of the raw bytes."""
    size: int
    containment: ContainmentInput | None = None
    """What it starts; without it, people are told and decide."""
    containment_id: str = ""
    """Workflow id of the containment."""
    page: str = ""
    """What people are told where nothing is started."""
    remember_seconds: Annotated[int, Field(ge=0)]
    """How long the delivery is known again; after that, as long as the namespace keeps ended runs."""
