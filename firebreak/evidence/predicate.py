"""What a package says about itself, apart from the libraries that sign it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from firebreak.evidence.custody import Head
from firebreak.model import FrozenModel, JsonObject, Mode, Stored

UNTIMESTAMPED = "untimestamped"


class Predicate(FrozenModel):
    """What a package says about itself; signed together with the digests of the bag's tag files."""

    incident_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    """The incident's own id, at most 64 characters, and what the package of a release adds to it."""
    mode: Mode
    sealed_at: AwareDatetime
    software: str
    custody: Head
    """The end of the custody chain: a dropped tail is noticed."""
    files: dict[str, Stored]
    """Where the bag's own files lie in the store, by version; the exhibits' places are in the bag."""
    containment: JsonObject
    """The run: workload digest, verdicts and times by phase, decisions and who took them."""
