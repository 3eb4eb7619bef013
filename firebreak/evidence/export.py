"""Export a sealed package from the vault to a local folder: streamed, hash-checked, all or nothing."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from firebreak.errors import EvidenceError
from firebreak.evidence.layout import (
    ATTESTATION,
    BAG,
    EXHIBITS,
    MANIFEST,
    TAG_MANIFEST,
    manifest_entries,
    safe,
)
from firebreak.evidence.sign import read_envelope, read_predicate, read_statement
from firebreak.evidence.vault import Vault
from firebreak.model import Exhibit, Stored


def export(vault: Vault, uri: str, directory: Path) -> Path:
    """Download the package at a uri into a new folder, for ``verify``.

    Raises EvidenceError when an object is gone or altered, or when the folder holds something else. The
    signature is checked by ``verify``, with keys that the store cannot choose.
    """
    directory = Path(directory).absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", suffix=".partial", dir=directory.parent))
    try:
        _fill(vault, uri.rstrip("/"), partial)
        _place(partial, directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def _fill(vault: Vault, uri: str, folder: Path) -> None:
    attestation = vault.find(f"{uri}.{ATTESTATION}")
    _fetch(vault, attestation, folder / ATTESTATION)
    envelope = read_envelope((folder / ATTESTATION).read_bytes())
    predicate = read_predicate(read_statement(envelope.payload))
    bag = folder / BAG
    for path, stored in predicate.files.items():
        _fetch(vault, stored, bag / safe(path))
    hashes = {path: stored.sha256 for path, stored in predicate.files.items() if path.startswith("data/")}
    for exhibit in _exhibits(bag / EXHIBITS):
        path = f"data/{safe(exhibit.evidence_id)}"
        _fetch(vault, exhibit.stored, bag / path)
        hashes[path] = exhibit.stored.sha256
    _compare(bag, hashes)


def _exhibits(path: Path) -> Iterator[Exhibit]:
    try:
        with path.open("rb") as file:
            for line in file:
                yield Exhibit.model_validate_json(line)
    except (OSError, ValidationError) as error:
        raise EvidenceError(f"the list of exhibits cannot be read: {error}", resource=EXHIBITS) from error


def _fetch(vault: Vault, stored: Stored, path: Path) -> None:
    """Stream one version to a file and check it here too, not only in the vault."""
    digest, size = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for chunk in vault.read(stored):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise EvidenceError(f"the package cannot be written: {error}", resource=stored.uri) from error
    if (digest.hexdigest(), size) != (stored.sha256, stored.size):
        raise EvidenceError("the object in the store is not the one that was sealed", resource=stored.uri)


def _compare(bag: Path, hashes: dict[str, str]) -> None:
    if not (bag / MANIFEST).is_file() or not (bag / TAG_MANIFEST).is_file():
        raise EvidenceError("the statement does not say where the manifests are", resource=MANIFEST)
    listed, problems = manifest_entries((bag / MANIFEST).read_bytes())
    differing = sorted(path for path in listed.keys() | hashes.keys() if listed.get(path) != hashes.get(path))
    if problems or differing:
        raise EvidenceError(
            f"manifest and exhibits disagree: {'; '.join(problems + differing)}", resource=MANIFEST
        )


def _place(partial: Path, directory: Path) -> None:
    if directory.exists():
        if _tree(directory) != _tree(partial):
            raise EvidenceError(
                "the folder already holds something else",
                resource=str(directory),
                remedy="choose a new folder",
            )
        return
    try:
        partial.rename(directory)
    except OSError as error:
        raise EvidenceError(f"the package cannot be placed: {error}", resource=str(directory)) from error


def _tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with its hash; a link counts as itself."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
