"""Verify a package offline, in numbered steps, with keys from outside the bag.

Every step runs, whatever the ones before found, and every problem names its item. Nothing in the package
is trusted: links are refused, paths are checked, files are streamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field, ValidationError, computed_field
from securesystemslib.dsse import Envelope

from firebreak.errors import EvidenceError
from firebreak.evidence import custody
from firebreak.evidence.folder import Folder
from firebreak.evidence.layout import (
    ATTESTATION,
    BAG,
    CUSTODY,
    DECLARATION,
    DECLARED,
    EXHIBITS,
    INFO,
    MANIFEST,
    TAG_FILES,
    TAG_MANIFEST,
    manifest_entries,
    printable,
)
from firebreak.evidence.predicate import UNTIMESTAMPED, Predicate
from firebreak.evidence.sign import (
    TrustedKey,
    check_signatures,
    read_envelope,
    read_predicate,
    read_statement,
)
from firebreak.model import Exhibit, FrozenModel, JsonObject, Mode

_OWN_PAYLOAD = {CUSTODY, EXHIBITS}
_NO_STATEMENT = "cannot be compared: the package has no readable statement"


class Problem(FrozenModel):
    """One thing that is wrong, and with which item."""

    step: int
    item: str
    message: str

    def __str__(self) -> str:
        """One line for the operator."""
        return f"step {self.step}: {self.item}: {self.message}"


class Step(FrozenModel):
    """One numbered check and what it found."""

    number: int
    title: str
    checked: str
    """What it looked at, in words and counts."""
    problems: tuple[Problem, ...] = ()


class Report(FrozenModel):
    """The outcome of a verification."""

    path: str
    steps: tuple[Step, ...]
    incident_id: str = ""
    manifest_sha256: str = ""
    """Of the manifest that lies here, for comparison with the one that the run named."""
    mode: Mode | None = None
    signed_by: tuple[str, ...] = ()
    """The trusted keys whose signature is good."""
    exhibits: int = 0
    payload_bytes: int = 0
    timestamp: str = UNTIMESTAMPED
    containment: JsonObject = Field(default_factory=dict)
    """The signed statement of the run; believe it only when ``ok``."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Whether no step found a problem."""
        return not self.problems

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong, in the order of the steps."""
        return tuple(problem for step in self.steps for problem in step.problems)


class Expected(FrozenModel):
    """Which package it has to be, known from elsewhere than its store; what is empty is not known.

    Whoever may write to the store can put another incident's genuine package in its place, or an older one.
    """

    incident_id: str = ""
    manifest_sha256: str = ""

    @classmethod
    def at(cls, uri: str, manifest_sha256: str = "") -> Expected:
        """The package that belongs at a uri, which ends with its incident's id (``bag.Sealed.uri``)."""
        return cls(incident_id=uri.rstrip("/").rpartition("/")[2], manifest_sha256=manifest_sha256.lower())


Findings = Iterator[tuple[str, str]]
"""Pairs of item and what is wrong with it."""


def verify(path: Path, trusted_keys: Iterable[TrustedKey], expected: Expected | None = None) -> Report:
    """Check a package folder; problems are reported, never raised.

    With ``expected``, a seventh step says whether it is the package that was asked for.
    Raises EvidenceError only when the path is no package folder at all.
    """
    root = Path(path)
    if not (root / BAG).is_dir() and not (root / ATTESTATION).is_file():
        raise EvidenceError(
            "this is not an evidence package", resource=str(root), remedy=f"give the folder that holds {BAG}/"
        )
    return _Verification(root, tuple(trusted_keys), expected).report()


class _Verification:
    """One run over one package; each step is a generator of findings."""

    def __init__(self, root: Path, trusted: tuple[TrustedKey, ...], expected: Expected | None) -> None:
        self.root = root
        self.trusted = trusted
        self.expected = expected
        self.folder = Folder.scan(root)
        self.listed, self.manifest_problems = manifest_entries(self.folder.read(f"{BAG}/{MANIFEST}"))
        self.tags, self.tag_problems = manifest_entries(self.folder.read(f"{BAG}/{TAG_MANIFEST}"))
        self.statement_problems: list[str] = []
        self.envelope: Envelope | None = None
        self.statement: JsonObject | None = None
        self.predicate: Predicate | None = None
        self.signers: list[TrustedKey] = []
        self.exhibit_problems: list[tuple[str, str]] = []
        self.exhibits = self._read_exhibits()
        self._read_statement()

    def report(self) -> Report:
        steps: tuple[Step, ...] = (
            self._step(
                1, "the bag is complete and unaltered", self._bag(), f"{len(self.listed)} payload files"
            ),
            self._step(
                2, "the signed list is the bag's list", self._subjects(), f"{len(self.tags)} tag files"
            ),
            self._step(3, "signed by a trusted key", self._signatures(), f"{len(self.trusted)} trusted keys"),
            self._step(4, "the custody chain is whole", self._custody(), "every entry, link and exhibit"),
            self._step(5, "exhibits are as recorded", self._exhibits(), f"{len(self.exhibits)} exhibits"),
            self._step(6, "live and drill are not mixed", self._mode(), "statement, bag and key"),
        )
        if self.expected is not None:
            asked = self._asked_for(self.expected)
            steps += (self._step(7, "it is the package that was asked for", asked, "incident and manifest"),)
        predicate = self.predicate
        return Report(
            path=str(self.root),
            steps=steps,
            incident_id=predicate.incident_id if predicate else "",
            manifest_sha256=self._manifest_sha256(),
            mode=predicate.mode if predicate else None,
            signed_by=tuple(key.key.keyid for key in self.signers),
            exhibits=len(self.exhibits),
            payload_bytes=self._payload_bytes(),
            containment=predicate.containment if predicate else {},
        )

    def _step(self, number: int, title: str, findings: Findings, checked: str) -> Step:
        problems = tuple(
            Problem(step=number, item=printable(item), message=message) for item, message in findings
        )
        return Step(number=number, title=title, checked=checked, problems=problems)

    # Step 1

    def _bag(self) -> Findings:
        yield from ((MANIFEST, problem) for problem in self.manifest_problems)
        yield from ((TAG_MANIFEST, problem) for problem in self.tag_problems)
        for name in sorted({*self.listed, *self.tags, *TAG_FILES, TAG_MANIFEST}):
            expected = self.listed.get(name) or self.tags.get(name)
            yield from self._file(name, expected)
        yield from self._foreign_files()
        yield from self._lists()
        yield from ((_short(name), reason) for name, reason in sorted(self.folder.refused.items()))

    def _file(self, name: str, expected: str | None) -> Findings:
        if f"{BAG}/{name}" not in self.folder.files:
            yield name, "missing"
            return
        hashed = self.folder.hash(f"{BAG}/{name}")
        if hashed and expected and hashed.sha256 != expected:
            yield name, "altered: its SHA-256 is not the listed one"

    def _foreign_files(self) -> Findings:
        belonging = {f"{BAG}/{name}" for name in {*self.listed, *self.tags, TAG_MANIFEST}} | {ATTESTATION}
        for name in sorted(self.folder.files - belonging):
            yield _short(name), "added: it is not part of the package"
        if ATTESTATION not in self.folder.files:
            yield ATTESTATION, "missing"

    def _lists(self) -> Findings:
        """What the two manifests must and must not list (RFC 8493 sections 2.1.3 and 2.2.1)."""
        for name in sorted(self.listed):
            if not name.startswith("data/"):
                yield name, f"listed in {MANIFEST}, but it is not payload"
        for name in sorted(self.tags.keys() - set(TAG_FILES)):
            yield name, f"listed in {TAG_MANIFEST}, but it is not a tag file of a package"
        for name in sorted(set(TAG_FILES) - self.tags.keys()):
            yield name, f"not listed in {TAG_MANIFEST}"
        if self.folder.read(f"{BAG}/{DECLARATION}") != DECLARED:
            yield DECLARATION, "not the declaration of a BagIt 1.0 bag"
        oxum = f"{self._payload_bytes()}.{len(self.listed)}"
        if self._info().get("Payload-Oxum") != oxum:
            yield INFO, f"its Payload-Oxum is not that of the payload, {oxum}"

    # Step 2

    def _subjects(self) -> Findings:
        if self.statement is None:
            yield ATTESTATION, _NO_STATEMENT
            return
        subjects = {str(each.get("name") or ""): each.get("digest") for each in self.statement["subject"]}
        if len(subjects) != len(self.statement["subject"]):
            yield ATTESTATION, "the statement names a subject twice"
        if subjects != {name: {"sha256": digest} for name, digest in self.tags.items()}:
            yield TAG_MANIFEST, "altered: it is not the list that was signed"
        for name in sorted(subjects.keys() | self.tags.keys()):
            if name not in self.tags:
                yield name, f"signed, but not listed in {TAG_MANIFEST}"
            elif name not in subjects:
                yield name, f"listed in {TAG_MANIFEST}, but not signed"
            elif subjects[name] != {"sha256": self.tags[name]}:
                yield name, f"{TAG_MANIFEST} lists another SHA-256 than was signed"

    # Step 3

    def _signatures(self) -> Findings:
        yield from ((ATTESTATION, problem) for problem in self.statement_problems)
        if self.envelope is None:
            return
        self.signers, problems = check_signatures(self.envelope, self.trusted)
        yield from ((ATTESTATION, problem) for problem in problems)

    # Step 4

    def _custody(self) -> Findings:
        if self.predicate is None:
            yield CUSTODY, f"its head {_NO_STATEMENT}"
        incident_id = (
            self.predicate.incident_id if self.predicate else self._info().get("External-Identifier", "")
        )
        head = self.predicate.custody if self.predicate else None
        chain = custody.inspect(self.folder.lines(f"{BAG}/{CUSTODY}"), incident_id, head)
        yield from ((CUSTODY, problem) for problem in chain.problems)
        for name in sorted(self.exhibits.keys() - chain.evidence_ids):
            yield name, "no custody entry names this exhibit"
        for name in sorted(chain.evidence_ids - self.exhibits.keys()):
            yield name, "custody names it, but there is no such exhibit"
        for name, exhibit in self.exhibits.items():
            if chain.digests.get(name, exhibit.stored.sha256) != exhibit.stored.sha256:
                yield name, "its SHA-256 is not the one that custody recorded"

    # Step 5

    def _exhibits(self) -> Findings:
        yield from self.exhibit_problems
        for name, exhibit in self.exhibits.items():
            yield from ((f"data/{name}", problem) for problem in self._exhibit(exhibit))
        recorded = {f"data/{name}" for name in self.exhibits}
        for path in sorted(self.listed.keys() - recorded - _OWN_PAYLOAD):
            yield path, f"payload without a record in {EXHIBITS}"

    def _exhibit(self, exhibit: Exhibit) -> Iterator[str]:
        path = f"data/{exhibit.evidence_id}"
        hashed = self.folder.hash(f"{BAG}/{path}")
        if self.listed.get(path) != exhibit.stored.sha256:
            yield f"its recorded SHA-256 is not the one in {MANIFEST}"
        if hashed and hashed.size != exhibit.stored.size:
            yield f"recorded with {exhibit.stored.size} bytes, has {hashed.size}"
        if not exhibit.stored.version_id:
            yield "recorded without a version of its immutable copy"
        if exhibit.stored.locked_until is None:
            yield "recorded without a lock on its immutable copy"

    # Step 6

    def _mode(self) -> Findings:
        if self.predicate is None:
            yield ATTESTATION, f"its mode {_NO_STATEMENT}"
            return
        mode, info = self.predicate.mode, self._info()
        if info.get("Firebreak-Mode") != mode.upper():
            yield (
                INFO,
                f"marked {info.get('Firebreak-Mode', 'with no mode')}, but the statement says {mode.upper()}",
            )
        if info.get("External-Identifier") != self.predicate.incident_id:
            yield INFO, f"names another incident than the statement, {self.predicate.incident_id}"
        for key in self.signers:
            if key.mode is not mode:
                yield (
                    ATTESTATION,
                    f"a {mode.upper()} package signed with {key.name}, trusted for {key.mode.upper()} only",
                )

    # Step 7

    def _asked_for(self, expected: Expected) -> Findings:
        if self.predicate is None:
            yield ATTESTATION, f"its incident {_NO_STATEMENT}"
        elif expected.incident_id not in ("", self.predicate.incident_id):
            yield ATTESTATION, f"of {self.predicate.incident_id}, not of {printable(expected.incident_id)}"
        if expected.manifest_sha256 not in ("", self._manifest_sha256()):
            yield MANIFEST, f"of another package: its SHA-256 is not {printable(expected.manifest_sha256)}"

    # What several steps need, read once

    def _manifest_sha256(self) -> str:
        hashed = self.folder.hash(f"{BAG}/{MANIFEST}")
        return hashed.sha256 if hashed else ""

    def _read_statement(self) -> None:
        try:
            self.envelope = read_envelope(self.folder.read(ATTESTATION))
            self.statement = read_statement(self.envelope.payload)
            self.predicate = read_predicate(self.statement)
        except EvidenceError as error:
            self.statement_problems.append(error.message)

    def _read_exhibits(self) -> dict[str, Exhibit]:
        found: dict[str, Exhibit] = {}
        for number, line in enumerate(self.folder.lines(f"{BAG}/{EXHIBITS}"), start=1):
            try:
                exhibit = Exhibit.model_validate_json(line)
            except ValidationError:
                self.exhibit_problems.append((EXHIBITS, f"line {number} is not the record of an exhibit"))
                continue
            if exhibit.evidence_id in found:
                self.exhibit_problems.append(
                    (EXHIBITS, f"line {number} repeats {printable(exhibit.evidence_id)}")
                )
            found[exhibit.evidence_id] = exhibit
        return found

    def _payload_bytes(self) -> int:
        hashed = (self.folder.hash(f"{BAG}/{name}") for name in self.listed)
        return sum(each.size for each in hashed if each)

    def _info(self) -> dict[str, str]:
        text = self.folder.read(f"{BAG}/{INFO}").decode("utf-8", "backslashreplace")
        pairs = (line.partition(":") for line in text.splitlines())
        return {name.strip(): value.strip() for name, _, value in pairs}


def _short(name: str) -> str:
    """A name as the bag's own lists write it."""
    return name.removeprefix(f"{BAG}/")
