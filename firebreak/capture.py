"""Capture without holding: pages of an API become locked parts in the vault, and a crash resumes.

Memory holds one part. Progress names the parts that are locked and the position behind the last of them, so
that a later attempt loses nothing and stores nothing twice.
"""

from __future__ import annotations

import json
import random
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import Any, ClassVar

from firebreak.errors import EvidenceError
from firebreak.evidence.vault import Vault
from firebreak.measure import AccessT, Context, Measure, found, now
from firebreak.model import Change, Exhibit, Finding, JsonObject, Method, State, Stored, Target

PART_BYTES = 2 * 1024 * 1024
"""One part: small enough that several captures at a time stay far below 200 MiB."""
_LISTED = 40
"""Parts that progress names one by one; older ones are kept in lists in the vault."""
_TRIED = 20
"""Exhibits whose deletion is attempted; of more, the first, the last and a choice between them."""

_REMEMBERED = 8192
_counted: dict[Stored, int] = {}


@dataclass(frozen=True)
class Page:
    """Some records as the API returned them, and where the next ones start."""

    records: list[Any]
    position: JsonObject
    """Given to ``pages`` again, it continues behind this page."""
    copies: list[Exhibit] = field(default_factory=list)
    """Exhibits stored on the way, such as copied objects."""
    flush: bool = False
    """Store what is buffered now: repeating the page would cost much."""


class Parts:
    """The growing list of one capture's parts."""

    def __init__(self, context: Context[Any], kind: str, source: str, acquired_by: str) -> None:
        self._context = context
        self._origin = {"kind": kind, "source": source, "acquired_by": acquired_by}
        resume = context.progress.resume if "capture" in context.progress.resume else {}
        self.position: JsonObject = resume.get("capture", {})
        self.finished = bool(resume.get("finished"))
        self.records = int(resume.get("records", 0))
        self._number = int(resume.get("number", 0))
        self._lists = [Stored.model_validate(each) for each in resume.get("lists", [])]
        self._listed = [Exhibit.model_validate(each) for each in resume.get("listed", [])]
        self._buffer = BytesIO()  # gives its bytes away without a copy
        self._buffered = 0
        """How many records are in the buffer."""
        self._copies: list[Exhibit] = []
        self.reached = self.position
        """The position behind the last page, stored or not."""

    def add(self, page: Page) -> None:
        """Take the records out of a page; what fills a part is locked in the vault at once."""
        lines = [_line(record) for record in page.records]
        page.records.clear()  # whoever made the page may still have it while the next one is read
        if self._buffered and self._buffer.tell() + sum(map(len, lines)) > PART_BYTES:
            self._flush()
        self._buffer.writelines(lines)
        self._buffered += len(lines)
        self._copies += page.copies
        self.reached = page.position
        if page.flush or self._buffer.tell() > PART_BYTES:
            self._flush()
        self._report()

    def finish(self) -> None:
        """Lock what is left; a capture without records has one empty part, which says so."""
        if self._buffered or not self._number:
            self._flush()
        self.finished, self.position = True, self.reached
        self._report()

    def adopt(self) -> None:
        """Take over what an attempt that failed has stored: parts in the vault that no progress tells of."""
        for uri in list(self._context.vault.list(f"{self._context.folder}/part-")):
            number = int(uri.rpartition("part-")[2].removesuffix(".jsonl"))
            if number > self._number:
                self._adopt(number, self._context.vault.find(uri))

    def _adopt(self, number: int, stored: Stored) -> None:
        self._number = number
        self._listed.append(self._exhibit(self._key(number), stored))
        self.records += _count(self._context.vault, stored)
        if len(self._listed) > _LISTED:
            self._put_list()

    def exhibits(self) -> tuple[Exhibit, ...]:
        """Everything that was stored."""
        return _listed(self._context.vault, self._lists, self._listed)

    def _flush(self) -> None:
        self._number += 1
        key = self._key(self._number)
        stored = self._context.vault.put(key, self._buffer.getvalue(), media_type="application/jsonl")
        self._listed += [*self._copies, self._exhibit(key, stored)]
        self.records += self._buffered
        self._buffer, self._buffered, self._copies = BytesIO(), 0, []
        self.position = self.reached
        if len(self._listed) > _LISTED:
            self._put_list()

    def _key(self, number: int) -> str:
        return f"{self._context.folder}/part-{number:05d}.jsonl"

    def _exhibit(self, key: str, stored: Stored) -> Exhibit:
        return Exhibit(evidence_id=evidence_id(key), collected_at=now(), stored=stored, **self._origin)

    def _put_list(self) -> None:
        """Move the list to the vault, outside the bag's payload, so that a heartbeat stays small."""
        place = self._context.folder.replace("/data/", "/progress/", 1)
        body = [_line(each.model_dump(mode="json")) for each in self._listed]
        key = f"{place}/parts-{len(self._lists) + 1:05d}.jsonl"
        self._lists.append(self._context.vault.put(key, b"".join(body), media_type="application/jsonl"))
        self._listed = []

    def _report(self) -> None:
        self._context.progress.report(
            {
                "capture": self.position,
                "finished": self.finished,
                "records": self.records,
                "number": self._number,
                "lists": [each.model_dump(mode="json") for each in self._lists],
                "listed": [each.model_dump(mode="json") for each in self._listed],
            }
        )


def reported(vault: Vault, progress: JsonObject) -> tuple[Exhibit, ...]:
    """What a capture had locked when it reported that progress; nothing for what is no capture."""
    lists = [Stored.model_validate(each) for each in progress.get("lists", [])]
    return _listed(vault, lists, [Exhibit.model_validate(each) for each in progress.get("listed", [])])


def _listed(vault: Vault, lists: Iterable[Stored], last: Iterable[Exhibit]) -> tuple[Exhibit, ...]:
    lines = [line for stored in lists for line in b"".join(vault.read(stored)).splitlines()]
    return (*map(Exhibit.model_validate_json, lines), *last)


class Capture(Measure[AccessT]):
    """The parent of every capture: pages into parts, then proof from the store. Nothing is redacted."""

    irreversible = "evidence is kept"
    kind: ClassVar[str]
    """What the exhibits are, in words."""
    acquired_by: ClassVar[str]
    """The API call that the records come from."""
    adopts: ClassVar[bool] = False
    """Reading hides records for a while: what a failed attempt has stored is kept, not read again."""

    @abstractmethod
    def pages(self, target: Target, position: JsonObject) -> Iterator[Page]:
        """Yield the pages behind a position; an empty position is the beginning."""

    def snapshot(self, target: Target) -> JsonObject:
        """Nothing: a capture leaves its source as it is."""
        return {}

    def apply(self, target: Target, state: State) -> Change:
        """Capture from where an earlier attempt stopped."""
        parts = self.parts(target)
        if not parts.finished:
            for page in self.pages(target, parts.position):
                parts.add(page)
            parts.finish()
        exhibits = parts.exhibits()
        change = self.done(
            target,
            state,
            changed=True,
            records=parts.records,
            window=[self.run.window_started_at.isoformat(), now().isoformat()],
            **self.notes(target, parts.reached),
        )
        return change.model_copy(update={"exhibits": exhibits})

    def parts(self, target: Target) -> Parts:
        """What earlier attempts have stored, as far as it counts."""
        parts = Parts(self.context, self.kind, self.source(target), self.acquired_by)
        if self.adopts and not parts.finished:
            parts.adopt()
        return parts

    def source(self, target: Target) -> str:
        """The ARN, id or uri that the records come from."""
        return target.ref

    def notes(self, target: Target, position: JsonObject) -> JsonObject:
        """What a reader of the evidence has to know, beside the number of records."""
        return {}

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Read every exhibit back from the store, hash and count it, and try to delete some."""
        return (self._reread(change), self._locked(change))

    def revert(self, change: Change) -> Finding:
        """Raise Irreversible: evidence is kept."""
        raise self.cannot_revert(change)

    def _reread(self, change: Change) -> Finding:
        records, size = 0, 0
        try:
            for exhibit in change.exhibits:
                lines = _count(self.context.vault, exhibit.stored)
                records += lines if exhibit.evidence_id.endswith(".jsonl") else 0
                size += exhibit.stored.size
        except EvidenceError as error:
            return found(Method.CONFIGURATION, str(error), holds=False)
        expected = change.after["records"]
        return found(
            Method.CONFIGURATION,
            f"{len(change.exhibits)} exhibits hash as recorded, {records} of {expected} records",
            holds=bool(change.exhibits) and records == expected,
            bytes=size,
        )

    def _locked(self, change: Change) -> Finding:
        tried = _sample(change.exhibits, self.run.incident_id)
        findings = [self.context.vault.prove_locked(each.stored) for each in tried]
        open_ones = [each for each in findings if not each.holds]
        if not findings or open_ones:
            seen = open_ones[0].observed if open_ones else "there is no exhibit"
            unclear = bool(open_ones) and all(each.inconclusive for each in open_ones)
            return found(Method.LIVE_PROBE, seen, holds=False, inconclusive=unclear, tried=len(tried))
        return found(
            Method.LIVE_PROBE,
            f"deletion refused for {len(tried)} of {len(change.exhibits)} exhibits tried",
            holds=True,
            answer=findings[0].observed,
        )


def _count(vault: Vault, stored: Stored) -> int:
    """Read a locked version once, which checks its hash, and count its lines.

    It cannot change any more, so later observations of this process need not read a gigabyte again.
    """
    known = _counted.get(stored)
    if known is not None:
        return known
    lines = sum(chunk.count(b"\n") for chunk in vault.read(stored))
    if len(_counted) >= _REMEMBERED:
        _counted.clear()
    _counted[stored] = lines
    return lines


def evidence_id(key: str) -> str:
    """The path of a vault key inside the bag's payload."""
    return key.split("/data/", 1)[-1]


def _sample(exhibits: tuple[Exhibit, ...], seed: str) -> list[Exhibit]:
    if len(exhibits) <= _TRIED:
        return list(exhibits)
    chosen = random.Random(seed).sample(exhibits[1:-1], _TRIED - 2)  # noqa: S311 - a choice, not a secret
    return [exhibits[0], *chosen, exhibits[-1]]


def _line(record: Any) -> bytes:
    return json.dumps(record, default=_plain, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return b64encode(value).decode()  # as the clouds' own JSON has it
    if isinstance(value, Iterable):
        return list(value)
    return str(value)
