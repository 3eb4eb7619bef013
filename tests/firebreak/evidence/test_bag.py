"""Packages are readable by other people's tools, sealed again after a crash, and exported whole."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bagit
import pytest
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from firebreak.errors import EvidenceError
from firebreak.evidence.bag import seal
from firebreak.evidence.export import export
from firebreak.evidence.layout import ATTESTATION, BAG, EXHIBITS, MANIFEST, TAG_MANIFEST, payload_key
from firebreak.evidence.sign import PREDICATE_TYPE, open_signer
from firebreak.evidence.verify import verify
from firebreak.model import Mode, Stored


def test_sha256sum_confirms_both_manifests(desk: Any) -> None:
    package = desk.export(desk.seal(desk.small()))
    done = subprocess.run(
        ["/usr/bin/sha256sum", "--strict", "-c", MANIFEST, TAG_MANIFEST],
        cwd=package / BAG,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": OK") == 5 + 4


def test_the_library_of_congress_tool_validates_the_bag(desk: Any) -> None:
    bag = bagit.Bag(str(desk.export(desk.seal(desk.small(), Mode.DRILL)) / BAG))
    assert bag.validate()
    assert bag.info["External-Identifier"] == "INC-1"
    assert bag.info["Bagging-Date"] == "2026-01-02"
    assert bag.info["Firebreak-Mode"] == "DRILL"


def test_the_in_toto_library_reads_the_statement(desk: Any) -> None:
    package = desk.export(desk.seal(desk.small()))
    payload = base64.b64decode(json.loads((package / ATTESTATION).read_bytes())["payload"])
    parsed = Statement.copy_from_pb(json_format.Parse(payload, statement_pb2.Statement()))
    parsed.validate()
    assert parsed.pb.predicate_type == PREDICATE_TYPE
    listed = {line.split("  ")[1] for line in (package / BAG / TAG_MANIFEST).read_text().splitlines()}
    assert {subject.name for subject in parsed.pb.subject} == listed


def test_the_instructions_in_the_package_work_without_firebreak(desk: Any) -> None:
    package = desk.export(desk.seal(desk.small()))
    text = (package / BAG / "VERIFY.md").read_text().replace("PACKAGE", package.name)
    shown = re.findall(r"^ {7}(.*)$", text.replace("KEY.pub", f"{desk.key}.pub"), re.MULTILINE)
    commands = "\n".join(["(", *shown[:3], ")", *shown[3:]])
    for _ in ("the first time", "again, in the same folder"):
        done = subprocess.run(
            ["/bin/bash", "-euc", commands], cwd=package.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count(": OK") == 5 + 4
        assert "Verified OK" in done.stdout
        assert "the signed list is this list" in done.stdout


def test_every_object_of_a_package_is_locked(desk: Any) -> None:
    sealed = desk.seal(desk.small())
    for stored in (*sealed.files, sealed.attestation):
        assert desk.vault.prove_locked(stored).holds
    assert sealed.exhibits == 3
    assert sealed.timestamp == "untimestamped"


def test_sealing_again_gives_the_same_package_in_new_versions(desk: Any) -> None:
    exhibits = desk.small()
    again = replace(desk.contents(exhibits), exhibits=[*exhibits, exhibits[0]])
    first, second = desk.seal(exhibits), seal(desk.vault, again, open_signer(f"file:{desk.key}"))
    assert first.manifest_sha256 == second.manifest_sha256
    assert first.tagmanifest_sha256 == second.tagmanifest_sha256
    assert first.attestation.version_id != second.attestation.version_id
    assert verify(desk.export(second), desk.trusted()).ok


def test_a_later_overwrite_does_not_change_the_sealed_package(desk: Any) -> None:
    exhibits = desk.small()
    sealed = desk.seal(exhibits)
    desk.vault.put(payload_key("INC-1", exhibits[0].evidence_id), b"planted later")
    desk.vault.put(f"INC-1/{EXHIBITS}", b"planted later")
    assert verify(desk.export(sealed), desk.trusted()).ok


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_chain_with_a_gap_is_not_signed(desk: Any, missing: int) -> None:
    contents = desk.contents(desk.small())
    lines = [line for number, line in enumerate(contents.custody_lines) if number != missing]
    with pytest.raises(EvidenceError, match="not whole"):
        seal(desk.vault, replace(contents, custody_lines=lines), open_signer(f"file:{desk.key}"))
    assert list(desk.vault.list(f"INC-1.{ATTESTATION}")) == []


def test_two_exhibits_of_one_name_are_refused(desk: Any) -> None:
    with pytest.raises(EvidenceError, match="different content"):
        desk.seal([desk.exhibit("a", b"1"), desk.exhibit("a", b"2")])


@pytest.mark.parametrize("names", [["exhibits.jsonl"], ["custody/custody.jsonl"], ["a", "a/b"], ["custody"]])
def test_exhibits_that_would_hide_each_other_are_refused(desk: Any, names: list[str]) -> None:
    exhibits = [desk.exhibit(name, b"") for name in names]
    with pytest.raises(EvidenceError, match="clash"):
        desk.seal(exhibits)


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a//b", "", "a\nb", "a\\b", "~/x", "a/./b", " a", "a%0Ab", "x" * 300]
)
def test_an_unsafe_exhibit_name_is_refused(desk: Any, name: str) -> None:
    exhibit = desk.exhibit("fine", b"").model_copy(update={"evidence_id": name})
    with pytest.raises(EvidenceError, match="not usable"):
        desk.seal([exhibit])


def test_export_again_is_harmless_and_a_changed_folder_is_never_overwritten(desk: Any) -> None:
    sealed = desk.seal(desk.small())
    package = desk.export(sealed)
    assert desk.export(sealed) == package
    (package / BAG / "data" / "trigger" / "raw.bin").write_bytes(b"mine")
    with pytest.raises(EvidenceError, match="something else"):
        desk.export(sealed)
    assert (package / BAG / "data" / "trigger" / "raw.bin").read_bytes() == b"mine"
    assert not list(package.parent.glob("*.partial")) + list(package.parent.glob(".*.partial"))


def _stored_file(desk: Any, stored: Stored) -> Path:
    (file,) = desk.vault.root.rglob(stored.version_id)
    return Path(file)


def test_export_refuses_an_object_altered_behind_the_vault(desk: Any) -> None:
    exhibits = desk.small()
    sealed = desk.seal(exhibits)
    file = _stored_file(desk, exhibits[1].stored)
    file.chmod(0o644)
    file.write_bytes(b'[{"holds": false}]')
    with pytest.raises(EvidenceError, match="altered") as refused:
        desk.export(sealed)
    assert exhibits[1].stored.uri in str(refused.value)
    assert not (desk.root / "package").exists()


def test_export_names_a_package_that_is_not_there(desk: Any) -> None:
    with pytest.raises(EvidenceError, match="no such evidence"):
        export(desk.vault, desk.vault.uri("INC-404"), desk.root / "package")


def test_a_thousand_exhibits_are_sealed_exported_and_verified_in_seconds(desk: Any) -> None:
    exhibits = [desk.exhibit(f"phases/4/capture/part-{n:05}.jsonl", b"%d\n" % n * 500) for n in range(1000)]
    began = time.monotonic()
    package = desk.export(desk.seal(exhibits))
    report = verify(package, desk.trusted())
    assert report.ok, report.problems[:3]
    assert report.exhibits == 1000
    assert time.monotonic() - began < 30


def test_memory_stays_flat_however_large_an_exhibit_is(desk: Any) -> None:
    def body() -> Iterator[bytes]:
        return (bytes([n % 256]) * (1 << 20) for n in range(64))

    tracemalloc.start()
    try:
        sealed = desk.seal([desk.exhibit("phases/4/capture/large.bin", body())])
        assert sealed.payload_bytes > 64 << 20
        assert verify(desk.export(sealed), desk.trusted()).ok
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
