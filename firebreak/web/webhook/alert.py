"""An alert in the words of OCSF 2004 (Detection Finding), as far as a containment needs them.

Tolerant on purpose: official OCSF examples do not validate against strict models, and what is unknown is
kept as raw bytes anyway.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from firebreak.errors import UsageError
from firebreak.model import FrozenModel

State = Literal["new", "updated", "resolved", "closed", "other"]
"""``other``: an event about a finding that is no reason to act, such as a comment."""


class MalformedError(UsageError):
    """The body is not what its source sends."""


class ResourceRef(FrozenModel):
    """A resource that the finding names; an id alone says nothing without its account."""

    uid: Annotated[str, Field(min_length=1, max_length=1024)]
    account: str = ""
    region: str = ""


class FindingInfo(FrozenModel):
    """What was found, in the source's own words: evidence, never a choice of target."""

    uid: Annotated[str, Field(min_length=1, max_length=512)]
    title: str = ""


class Alert(FrozenModel):
    """One event about one finding."""

    finding_info: FindingInfo
    severity_id: Annotated[int, Field(ge=0, le=6)] = 0
    """OCSF: 0 unknown, 1 informational, 2 low, 3 medium, 4 high, 5 critical, 6 fatal."""
    time: AwareDatetime | None = None
    state: State = "new"
    resources: tuple[ResourceRef, ...] = ()
    confirmed: bool = False
    """The source says that it is a true positive."""
    sample: bool = False
    """A test of the connection, or one of the source's example findings."""
    key: Annotated[str, Field(min_length=1, max_length=2048)]
    """The same for every attempt to deliver this event, and for no other event."""
