"""Whoever holds the key can still not make a package that contradicts itself."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from firebreak.errors import EvidenceError
from firebreak.evidence.export import export
from firebreak.evidence.layout import (
    ATTESTATION,
    BAG,
    DECLARATION,
    EXHIBITS,
    INFO,
    MANIFEST,
    TAG_FILES,
    TAG_MANIFEST,
    manifest_bytes,
)
from firebreak.evidence.local import LocalVault
from firebreak.evidence.sign import open_signer, sign, statement
from firebreak.evidence.verify import verify
from firebreak.model import Stored


def sealed_again(desk: Any, package: Path, leave_out: str = "") -> list[tuple[int, str]]:
    """Rewrite manifests and statement over whatever the bag now holds, with the right key."""
    bag = package / BAG
    payload = {str(p.relative_to(bag)): _digest(p) for p in (bag / "data").rglob("*") if p.is_file()}
    (bag / MANIFEST).write_bytes(manifest_bytes(payload))
    tags = {name: _digest(bag / name) for name in TAG_FILES if name != leave_out}
    (bag / TAG_MANIFEST).write_bytes(manifest_bytes(tags))
    signed = json.loads(base64.b64decode(json.loads((package / ATTESTATION).read_bytes())["payload"]))
    raw = statement(tags, signed["predicate"])
    (package / ATTESTATION).write_bytes(sign(raw, open_signer(f"file:{desk.key}")))
    return [(p.step, p.item) for p in verify(package, desk.trusted()).problems]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def package(desk: Any) -> Path:
    folder: Path = desk.export(desk.seal(desk.small()))
    return folder


def test_sealed_again_without_a_change_it_is_good(desk: Any, package: Path) -> None:
    assert sealed_again(desk, package) == []


def test_payload_without_a_record_is_named(desk: Any, package: Path) -> None:
    (package / BAG / "data" / "more").write_bytes(b"")
    info = package / BAG / INFO
    info.write_text(info.read_text().replace(".5\n", ".6\n"))
    assert sealed_again(desk, package) == [(5, "data/more")]


def test_altered_payload_contradicts_its_record(desk: Any, package: Path) -> None:
    raw = package / BAG / "data" / "trigger" / "raw.bin"
    raw.write_bytes(raw.read_bytes()[::-1])
    assert sealed_again(desk, package) == [(5, "data/trigger/raw.bin")]


@pytest.mark.parametrize("text", ["Payload-Oxum: ", "External-Identifier: INC-"])
def test_bag_info_must_agree(desk: Any, package: Path, text: str) -> None:
    info = package / BAG / INFO
    info.write_text(info.read_text().replace(text, f"{text}9"))
    assert [item for _, item in sealed_again(desk, package)] == [INFO]


def test_the_declaration_must_be_the_declaration(desk: Any, package: Path) -> None:
    (package / BAG / DECLARATION).write_text("BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n")
    assert sealed_again(desk, package) == [(1, DECLARATION)]


def test_every_tag_file_must_be_listed_and_signed(desk: Any, package: Path) -> None:
    assert sealed_again(desk, package, leave_out="VERIFY.md") == [(1, "VERIFY.md"), (1, "VERIFY.md")]


def test_an_exhibit_recorded_twice_is_named(desk: Any, package: Path) -> None:
    listed = package / BAG / EXHIBITS
    listed.write_bytes(listed.read_bytes() + listed.read_bytes().splitlines(keepends=True)[0])
    assert (5, EXHIBITS) in sealed_again(desk, package)


def _without_signatures(envelope: dict[str, Any]) -> bytes:
    return _spelled({**envelope, "signatures": []})


def _other_type(envelope: dict[str, Any]) -> bytes:
    return _spelled({**envelope, "payloadType": "text/plain"})


def _extra_field(envelope: dict[str, Any]) -> bytes:
    return _spelled({**envelope, "note": "x"})


def _extra_field_in_signature(envelope: dict[str, Any]) -> bytes:
    return _spelled({**envelope, "signatures": [{**envelope["signatures"][0], "note": "x"}]})


def _spaced(envelope: dict[str, Any]) -> bytes:
    return _spelled(envelope).rstrip(b"\n") + b" \n"


def _spelled(envelope: dict[str, Any]) -> bytes:
    return json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode() + b"\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_signatures, "carries no signature"),
        (_other_type, "payload type was edited"),
        (_extra_field, "the envelope was edited"),
        (_extra_field_in_signature, "the envelope was edited"),
        (_spaced, "the envelope was edited"),
    ],
)
def test_an_envelope_is_accepted_only_as_it_was_written(
    desk: Any, package: Path, change: Callable[[dict[str, Any]], bytes], message: str
) -> None:
    envelope = json.loads((package / ATTESTATION).read_bytes())
    assert _spelled(envelope) == (package / ATTESTATION).read_bytes()
    (package / ATTESTATION).write_bytes(change(envelope))
    found = [p for p in verify(package, desk.trusted()).problems if p.step == 3]
    assert [(p.item, message in p.message) for p in found] == [(ATTESTATION, True)]


class Careless(LocalVault):
    """A store that hands out other bytes and does not check them."""

    def read(self, stored: Stored) -> Iterator[bytes]:
        content = b"".join(super().read(stored))
        yield content[::-1] if stored.uri.endswith("raw.bin") else content


def test_export_does_not_take_the_store_at_its_word(desk: Any) -> None:
    sealed = desk.seal(desk.small())
    with pytest.raises(EvidenceError, match="not the one that was sealed"):
        export(Careless(desk.vault.root), sealed.uri, desk.root / "package")
    assert not (desk.root / "package").exists()


def test_export_refuses_a_list_of_exhibits_that_the_manifest_does_not_confirm(desk: Any) -> None:
    exhibits = desk.small()
    sealed = desk.seal(exhibits)
    fewer = desk.vault.put(f"INC-1/{EXHIBITS}", exhibits[0].canonical() + b"\n")
    envelope = json.loads(b"".join(desk.vault.read(sealed.attestation)))
    body = json.loads(base64.b64decode(envelope["payload"]))
    body["predicate"]["files"][EXHIBITS] = fewer.model_dump(mode="json")
    subjects = {each["name"]: each["digest"]["sha256"] for each in body["subject"]}
    forged = sign(statement(subjects, body["predicate"]), open_signer(f"file:{desk.key}"))
    desk.vault.put(f"INC-1.{ATTESTATION}", forged)
    with pytest.raises(EvidenceError, match=r"disagree.*aws\.capture-audit-log"):
        desk.export(sealed)
