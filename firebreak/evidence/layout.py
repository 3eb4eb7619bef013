"""The shape of an evidence package: file names, safe paths, manifest lines.

A package on disk is a folder with ``bag/`` (a BagIt bag, RFC 8493) and ``attestation.dsse.json``. The
attestation lies outside the bag because signing must not change what is signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from firebreak.errors import EvidenceError

BAG = "bag"
ATTESTATION = "attestation.dsse.json"
DECLARATION = "bagit.txt"
INFO = "bag-info.txt"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
README = "VERIFY.md"
CUSTODY = "data/custody/custody.jsonl"
EXHIBITS = "data/exhibits.jsonl"

TAG_FILES = (INFO, DECLARATION, MANIFEST, README)
"""What the tag manifest lists; it cannot list itself."""

DECLARED = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
"""RFC 8493 section 2.1.1: exactly these two lines."""

# Printable ASCII without what manifests, shells or file systems treat specially: "%" and line ends are
# encoded by BagIt tools (RFC 8493 section 2.1.3), a backslash makes sha256sum escape the line.
_PART = re.compile(r"[A-Za-z0-9._@=+,:~()\[\]{}#!$&' -]{1,255}")
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_MAX_PATH = 900
"""S3 object keys hold 1,024 bytes (S3 user guide, object key names); the store's prefix needs some."""


def is_safe(path: str) -> bool:
    """Whether a relative path stays inside its folder and reads the same to every tool."""
    parts = path.split("/")
    inside = all(_PART.fullmatch(part) and part.strip() == part and part not in {".", ".."} for part in parts)
    return inside and len(path) <= _MAX_PATH and not path.startswith("~")


def safe(path: str) -> str:
    """Return the path; raises EvidenceError when it is not safe."""
    if not is_safe(path):
        raise EvidenceError("an evidence path is not usable", resource=printable(path))
    return path


def folder(prefix: str) -> str:
    """Return a folder's key prefix; raises EvidenceError for one that a neighbour's keys begin with."""
    if not prefix.endswith("/"):
        raise EvidenceError("a prefix without a slash at its end names neighbours too", resource=prefix)
    return prefix


def payload_key(incident_id: str, evidence_id: str) -> str:
    """Name the store key of an exhibit."""
    return f"{incident_id}/data/{evidence_id}"


def printable(text: str) -> str:
    """Show text from untrusted evidence without control characters or broken encodings."""
    clean = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in clean)[:_MAX_PATH]


def manifest_bytes(entries: Mapping[str, str]) -> bytes:
    """Write manifest lines, sorted by path, in the form that ``sha256sum -c`` reads."""
    return "".join(f"{entries[path]}  {path}\n" for path in sorted(entries)).encode()


def manifest_entries(raw: bytes) -> tuple[dict[str, str], list[str]]:
    """Read a manifest into path -> SHA-256, and list what is wrong with it in words."""
    entries: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(_lines(raw), start=1):
        matched = _LINE.fullmatch(line)
        if matched is None:
            problems.append(f"line {number} is not a manifest line: {printable(line)}")
        elif not is_safe(matched[2]):
            problems.append(f"line {number} names an unsafe path: {printable(matched[2])}")
        elif matched[2] in entries:
            problems.append(f"line {number} names a second time: {matched[2]}")
        else:
            entries[matched[2]] = matched[1]
    if not problems and raw != manifest_bytes(entries):
        problems.append("the lines are not sorted, or the last line does not end")
    return entries, problems


def conflicts(paths: Iterable[str]) -> list[str]:
    """List the paths that are a file for one entry and a folder for another."""
    names = set(paths)
    return sorted({parent for path in names for parent in _parents(path) if parent in names})


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _lines(raw: bytes) -> list[str]:
    text = raw.decode("utf-8", "backslashreplace")
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines
