"""Seal a package: a BagIt bag (RFC 8493) as locked objects in the vault, and its signed statement.

The payload is already in the vault; sealing writes the lists over it. A retry writes the same content as
new versions, and the statement, written last, names the versions that belong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from firebreak import __version__
from firebreak.errors import EvidenceError
from firebreak.evidence import custody
from firebreak.evidence.custody import Head
from firebreak.evidence.instructions import verify_md
from firebreak.evidence.layout import (
    ATTESTATION,
    CUSTODY,
    DECLARATION,
    DECLARED,
    EXHIBITS,
    INFO,
    MANIFEST,
    README,
    TAG_FILES,
    TAG_MANIFEST,
    conflicts,
    manifest_bytes,
    safe,
)
from firebreak.evidence.predicate import UNTIMESTAMPED, Predicate
from firebreak.evidence.vault import Vault
from firebreak.model import Exhibit, FrozenModel, JsonObject, Mode, Stored

if TYPE_CHECKING:  # the library looks for every cloud's SDK, which each process would wait for
    from securesystemslib.signer import Signer

SOFTWARE = f"firebreak {__version__}"


@dataclass(frozen=True)
class Contents:
    """What goes into a package."""

    incident_id: str
    mode: Mode
    exhibits: Iterable[Exhibit]
    custody_lines: Iterable[str]
    """From ``custody.extend``, the whole chain."""
    predicate: JsonObject
    """The run's own statement: workload digest, verdicts and times by phase, decisions and who took them."""
    sealed_at: datetime
    """Given, not read from the clock: a retry seals the same package."""


class Sealed(FrozenModel):
    """Where a sealed package lies."""

    incident_id: str
    mode: Mode
    uri: str
    """What ``export`` takes: the bag's files lie below it."""
    manifest_sha256: str
    tagmanifest_sha256: str
    attestation: Stored
    custody_head: Head
    key_id: str
    """The key that signed."""
    exhibits: int
    payload_bytes: int
    timestamp: str = UNTIMESTAMPED
    files: tuple[Stored, ...] = ()
    """The bag's own files, without the exhibits."""


def seal(vault: Vault, contents: Contents, signer: Signer) -> Sealed:
    """Write the bag's lists and the signed statement; every object is locked by the vault.

    Raises EvidenceError, before anything is written, for a custody chain that is not whole.
    """
    from firebreak.evidence.sign import sign, statement  # noqa: PLC0415 - see above: the first seal waits

    exhibits = _distinct(contents.exhibits)
    lines = tuple(contents.custody_lines)
    head = _whole(lines, contents.incident_id)
    files = _Files(vault, contents.incident_id)
    files.put(EXHIBITS, b"".join(exhibit.canonical() + b"\n" for exhibit in exhibits.values()))
    files.put(CUSTODY, "".join(f"{line}\n" for line in lines).encode())
    payload = {f"data/{name}": exhibit.stored for name, exhibit in exhibits.items()} | files.stored
    files.put(DECLARATION, DECLARED, "text/plain")
    files.put(INFO, _info(contents, payload), "text/plain")
    files.put(README, verify_md(contents.incident_id, contents.mode).encode(), "text/markdown")
    files.put(MANIFEST, manifest_bytes({path: each.sha256 for path, each in payload.items()}), "text/plain")
    tags = {name: files.stored[name].sha256 for name in TAG_FILES}
    files.put(TAG_MANIFEST, manifest_bytes(tags), "text/plain")
    envelope = sign(statement(tags, _predicate(contents, head, files.stored)), signer)
    attestation = vault.put(f"{contents.incident_id}.{ATTESTATION}", envelope)
    return Sealed(
        incident_id=contents.incident_id,
        mode=contents.mode,
        uri=vault.uri(contents.incident_id),
        manifest_sha256=files.stored[MANIFEST].sha256,
        tagmanifest_sha256=files.stored[TAG_MANIFEST].sha256,
        attestation=attestation,
        custody_head=head,
        key_id=signer.public_key.keyid,
        exhibits=len(exhibits),
        payload_bytes=sum(each.size for each in payload.values()),
        files=tuple(files.stored.values()),
    )


def _whole(lines: Sequence[str], incident_id: str) -> Head:
    """The end of the chain; raises EvidenceError for one that is not whole: signing would vouch for it."""
    head = custody.inspect(lines, incident_id, None).head
    if problems := custody.check(lines, incident_id, head):
        raise EvidenceError(f"the custody chain is not whole: {'; '.join(problems)}", resource=incident_id)
    return head


class _Files:
    """The bag's own files, as they are written."""

    def __init__(self, vault: Vault, incident_id: str) -> None:
        self.vault = vault
        self.incident_id = incident_id
        self.stored: dict[str, Stored] = {}

    def put(self, path: str, body: bytes, media_type: str = "application/json") -> None:
        self.stored[path] = self.vault.put(f"{self.incident_id}/{path}", body, media_type=media_type)


def _distinct(exhibits: Iterable[Exhibit]) -> dict[str, Exhibit]:
    """The exhibits by id, sorted; one that a retry reported again with the same content is taken once."""
    found: dict[str, Exhibit] = {}
    for exhibit in exhibits:
        earlier = found.setdefault(safe(exhibit.evidence_id), exhibit)
        if earlier.stored.sha256 != exhibit.stored.sha256:
            raise EvidenceError("two exhibits of different content have one id", resource=exhibit.evidence_id)
        found[exhibit.evidence_id] = exhibit
    reserved = {path.removeprefix("data/") for path in (CUSTODY, EXHIBITS)}
    clashes = sorted(reserved & found.keys()) + conflicts([*found, *reserved])
    if clashes:
        raise EvidenceError(f"exhibit ids clash: {', '.join(clashes)}")
    return dict(sorted(found.items()))


def _info(contents: Contents, payload: Mapping[str, Stored]) -> bytes:
    """bag-info.txt with the reserved names of RFC 8493 section 2.2.2 and the mode."""
    size = sum(each.size for each in payload.values())
    fields = [
        ("Source-Organization", "Firebreak"),
        ("External-Identifier", contents.incident_id),
        ("Bagging-Date", contents.sealed_at.astimezone(UTC).date().isoformat()),
        ("Payload-Oxum", f"{size}.{len(payload)}"),
        ("Bag-Software-Agent", SOFTWARE),
        ("Firebreak-Mode", contents.mode.upper()),
    ]
    if contents.mode is Mode.DRILL:
        fields.append(("External-Description", "DRILL: practice, not an incident"))
    return "".join(f"{name}: {value}\n" for name, value in fields).encode()


def _predicate(contents: Contents, head: Head, files: dict[str, Stored]) -> JsonObject:
    return Predicate(
        incident_id=contents.incident_id,
        mode=contents.mode,
        sealed_at=contents.sealed_at,
        software=SOFTWARE,
        custody=head,
        files=files,
        containment=contents.predicate,
    ).model_dump(mode="json")
