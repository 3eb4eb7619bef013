"""What a storage account holds: containers, blobs, their versions, and what keeps them from changing."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from drills.sandbox.azure.clock import now as utc_now
from drills.sandbox.azure.storage.spool import Segment

_counter = itertools.count(1)
_last = [0]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_etag() -> str:
    """A value that no other change has had."""
    return f'"0x8D{next(_counter):013X}"'


def new_stamp() -> str:
    """An opaque time that names a version or snapshot; always later than the one before."""
    _last[0] = max(_last[0] + 1, (utc_now() - _EPOCH) // timedelta(microseconds=1))
    at = _EPOCH + timedelta(microseconds=_last[0])
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


@dataclass(frozen=True)
class Block:
    """One committed block."""

    block_id: str
    segment: Segment


@dataclass(frozen=True)
class Retention:
    """A version's own immutability policy."""

    until: datetime
    mode: Literal["Unlocked", "Locked"]


@dataclass(frozen=True)
class Version:
    """One state of a blob; replaced as a whole by whatever changes it."""

    kind: Literal["BlockBlob", "AppendBlob"]
    blocks: tuple[Block, ...] = ()
    version_id: str = ""
    etag: str = field(default_factory=new_etag)
    created_at: datetime = field(default_factory=utc_now)
    modified_at: datetime = field(default_factory=utc_now)
    metadata: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    """Content-Type, Content-MD5 and the like, by their names without ``x-ms-blob-``."""
    legal_hold: bool = False
    retention: Retention | None = None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Where its bytes are."""
        return tuple(block.segment for block in self.blocks)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return sum(segment.size for segment in self.segments)

    def changed(self, **values: Any) -> Version:
        """The same version after a write that is no new version."""
        return replace(self, etag=new_etag(), modified_at=utc_now(), **values)


@dataclass
class Blob:
    """One path of a container with everything that was ever written there and not deleted for good."""

    name: str
    current: Version | None = None
    previous: list[Version] = field(default_factory=list)
    snapshots: dict[str, Version] = field(default_factory=dict)
    uncommitted: dict[str, Segment] = field(default_factory=dict)

    @property
    def versions(self) -> list[Version]:
        """Every version, the oldest first."""
        return [*self.previous, *([self.current] if self.current else [])]

    @property
    def is_gone(self) -> bool:
        """Nothing is left."""
        return not (self.current or self.previous or self.snapshots or self.uncommitted)


@dataclass(frozen=True)
class HoldTag:
    """One tag of a container's legal hold, and who set it."""

    tag: str
    object_id: str
    tenant_id: str
    at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True)
class Policy:
    """A container's time-based retention policy."""

    days: int
    state: Literal["Unlocked", "Locked"] = "Unlocked"
    append: bool = False
    append_all: bool = False
    etag: str = field(default_factory=new_etag)
    extensions: int = 0
    """How often the locked policy was extended."""


@dataclass
class Container:
    """One container."""

    name: str
    metadata: dict[str, str] = field(default_factory=dict)
    version_level: bool = False
    """Immutable storage with versioning: holds and policies are the versions' own."""
    holds: tuple[HoldTag, ...] = ()
    hold_appends: bool = False
    policy: Policy | None = None
    etag: str = field(default_factory=new_etag)
    modified_at: datetime = field(default_factory=utc_now)
    blobs: dict[str, Blob] = field(default_factory=dict)

    def touch(self) -> None:
        """Note a change of the container itself."""
        self.etag, self.modified_at = new_etag(), utc_now()


@dataclass
class Account:
    """One storage account."""

    name: str
    resource_id: str
    versioning: bool = False
    shared_keys: bool = True
    version_level: bool = False
    """Every container of the account has immutable storage with versioning."""
    keys: dict[str, str] = field(default_factory=dict)
    delegation_revoked_at: datetime | None = None
    containers: dict[str, Container] = field(default_factory=dict)
    network_default: str = "Allow"
