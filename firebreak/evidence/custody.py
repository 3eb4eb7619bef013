"""The custody chain: who did what to which evidence, when and why, each entry hashed over the one before.

Fields after NIST SP 800-61r3 (RS.AN-06, RS.AN-07) and ISO/IEC 27037: unique id, person or workload
identity, time, place, purpose, authorisation.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import rfc8785
from pydantic import (
    AwareDatetime,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from firebreak.evidence.layout import printable
from firebreak.model import FrozenModel


class Action(StrEnum):
    """What was done; the words of a custody form."""

    TRIGGERED = "triggered"
    PLANNED = "planned"
    DECIDED = "decided"
    CHANGED = "changed"
    COLLECTED = "collected"
    HASHED = "hashed"
    STORED = "stored"
    LOCKED = "locked"
    ACCESSED = "accessed"
    TRANSFERRED = "transferred"
    VERIFIED = "verified"
    SEALED = "sealed"
    RELEASED = "released"
    DISPOSED = "disposed"


class Actor(FrozenModel):
    """Who acted: a person, or software under its own identity."""

    who: str
    """A person's subject, or a workload identity such as an assumed-role ARN."""
    human: bool = False
    software: str = ""
    """Name and version of the software that acted, for example ``firebreak 0.1.0``."""


class CustodyEvent(FrozenModel):
    """One fact for the chain, before chaining: small, references and hashes only."""

    event_id: str
    """Unique in the incident and the same on every retry."""
    action: Action
    actor: Actor
    at: AwareDatetime
    evidence_ids: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    """What each exhibit held then, in the order of ``evidence_ids``; entries of 0.1 do not say it."""
    on_behalf_of: str = ""
    where: str = ""
    """The store, account or host."""
    purpose: str = ""
    authorisation: str = ""
    """The approval, alert or standing rule that allowed it."""
    summary: str = ""

    @model_validator(mode="after")
    def _each_its_own(self) -> CustodyEvent:
        if self.sha256 and len(self.sha256) != len(self.evidence_ids):
            msg = "there is not one SHA-256 for each exhibit"
            raise ValueError(msg)
        return self

    @model_serializer(mode="wrap")
    def _as_hashed(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the field out where it is empty: the hashes of 0.1 were made without it."""
        written: dict[str, Any] = write(self)
        if not self.sha256:
            written.pop("sha256", None)
        return written


class CustodyEntry(CustodyEvent):
    """An event in its place in the chain."""

    seq: int = Field(ge=1, le=2**53 - 1)
    """No larger number is certain in I-JSON (RFC 7493, section 2.2), which RFC 8785 builds on."""
    prev_hash: str
    this_hash: str = ""

    def computed_hash(self) -> str:
        """SHA-256 of the canonical entry without its own hash."""
        return hashlib.sha256(rfc8785.dumps(self.model_dump(mode="json", exclude={"this_hash"}))).hexdigest()


class Head(FrozenModel):
    """The end of a chain; whoever knows it notices a dropped tail."""

    seq: int = Field(ge=0)
    hash: str


def genesis(incident_id: str) -> Head:
    """Start a chain; the incident's id makes chains of two incidents differ from their first entry."""
    return Head(seq=0, hash=hashlib.sha256(f"firebreak custody v1\n{incident_id}".encode()).hexdigest())


def extend(head: Head, events: Iterable[CustodyEvent]) -> tuple[tuple[str, ...], Head]:
    """Chain events behind a head. An event that a retry reported again, unchanged, is taken once."""
    lines: list[str] = []
    seen: set[CustodyEvent] = set()
    for event in events:
        if event in seen:
            continue
        seen.add(event)
        entry = CustodyEntry(**dict(event), seq=head.seq + 1, prev_hash=head.hash)
        entry = entry.model_copy(update={"this_hash": entry.computed_hash()})
        lines.append(entry.canonical().decode())
        head = Head(seq=entry.seq, hash=entry.this_hash)
    return tuple(lines), head


@dataclass(frozen=True)
class Inspection:
    """What reading a whole chain showed."""

    problems: tuple[str, ...]
    head: Head
    """Where the chain ends."""
    evidence_ids: frozenset[str]
    """Every exhibit that a readable entry names."""
    digests: dict[str, str]
    """The SHA-256 that the last entry to say one says of each exhibit."""


def check(lines: Iterable[str], incident_id: str, head: Head | None) -> list[str]:
    """List everything wrong with a chain, each problem naming its line and seq."""
    return list(inspect(lines, incident_id, head).problems)


def inspect(lines: Iterable[str], incident_id: str, head: Head | None) -> Inspection:
    """Read a chain once, in order, against its declared head."""
    walk = _Walk(genesis(incident_id))
    for number, line in enumerate(lines, start=1):
        walk.step(number, line)
    problems = (*walk.problems, *_repeated(walk.event_ids), *_tail(walk.head, head))
    return Inspection(problems, walk.head, frozenset(walk.evidence_ids), walk.digests)


def read(line: str) -> CustodyEntry:
    """Parse one line; raises ValueError when it is no entry."""
    try:
        return CustodyEntry.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(printable(f"{place} {first['msg']}".strip())) from error


_UNKNOWN = ""
"""The hash of an entry that could not be read: one defect is reported once."""


class _Walk:
    def __init__(self, head: Head) -> None:
        self.head = head
        self.problems: list[str] = []
        self.event_ids: Counter[str] = Counter()
        self.evidence_ids: set[str] = set()
        self.digests: dict[str, str] = {}

    def step(self, number: int, line: str) -> None:
        try:
            entry = read(line)
        except ValueError as error:
            self.problems.append(
                f"line {number}, in the place of seq {self.head.seq + 1}: not an entry ({error})"
            )
            self.head = Head(seq=self.head.seq + 1, hash=_UNKNOWN)
            return
        self.problems += [f"line {number}, seq {entry.seq}: {flaw}" for flaw in self._flaws(entry, line)]
        self.event_ids[entry.event_id] += 1
        self.evidence_ids.update(entry.evidence_ids)
        self.digests.update(zip(entry.evidence_ids, entry.sha256, strict=False))
        self.head = Head(seq=entry.seq, hash=entry.this_hash)

    def _flaws(self, entry: CustodyEntry, line: str) -> Iterator[str]:
        expected = self.head.seq + 1
        if entry.seq > expected:
            yield f"gap or reordered, seq {_span(expected, entry.seq - 1)} missing here"
        elif entry.seq < expected:
            yield f"repeated or reordered, seq {expected} belongs here"
        if entry.this_hash != entry.computed_hash():
            yield "edited, its hash is not that of its content"
        elif line.encode() != entry.canonical():
            yield "edited, not in canonical form"
        if entry.prev_hash != self.head.hash != _UNKNOWN:
            yield "its link does not match the entry before it"


def _repeated(event_ids: Counter[str]) -> list[str]:
    return [
        f"event id {printable(name)} stands {count} times" for name, count in event_ids.items() if count > 1
    ]


def _tail(reached: Head, declared: Head | None) -> list[str]:
    if declared is None:
        return ["no declared head: a dropped tail could not be noticed"]
    if reached == declared:
        return []
    if reached.seq < declared.seq:
        return [f"the tail was dropped: seq {_span(reached.seq + 1, declared.seq)} missing at the end"]
    if reached.seq > declared.seq:
        return [f"added at the end: seq {_span(declared.seq + 1, reached.seq)} beyond the declared head"]
    return [f"seq {reached.seq}: its hash is not the declared head"]


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"
