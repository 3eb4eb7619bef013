"""Any tampering with a package is detected, and the item is named."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firebreak.errors import EvidenceError
from firebreak.evidence import custody
from firebreak.evidence.bag import Sealed, seal
from firebreak.evidence.layout import ATTESTATION, BAG, CUSTODY, EXHIBITS, INFO, MANIFEST, TAG_MANIFEST
from firebreak.evidence.sign import (
    TrustedKey,
    generate_key,
    load_public_keys,
    open_signer,
    sign,
    statement,
)
from firebreak.evidence.verify import Expected, Report, verify
from firebreak.model import Mode

Original = tuple[Path, tuple[TrustedKey, ...]]
Copy = Callable[[], Path]
tampering = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])


def files(package: Path) -> list[str]:
    return sorted(str(path.relative_to(package)) for path in package.rglob("*") if path.is_file())


def names(report: Report) -> set[str]:
    return {problem.item for problem in report.problems}


def short(name: str) -> str:
    return name.removeprefix(f"{BAG}/")


def test_an_untouched_package_passes_every_step(original: Original) -> None:
    report = verify(*original)
    assert report.ok, report.problems
    assert [step.number for step in report.steps] == [1, 2, 3, 4, 5, 6]
    assert (report.incident_id, report.mode, report.exhibits) == ("INC-1", Mode.LIVE, 3)
    assert report.signed_by == (original[1][0].key.keyid,)
    assert report.timestamp == "untimestamped"
    assert report.containment["verdict"] == "contained"
    assert json.loads(report.model_dump_json())["ok"] is True


@tampering
@given(data=st.data())
def test_any_flipped_byte_is_found_and_its_file_named(
    original: Original, copy: Copy, data: st.DataObject
) -> None:
    package = copy()
    name = data.draw(st.sampled_from(files(package)))
    content = bytearray((package / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (package / name).write_bytes(content)
    report = verify(package, original[1])
    assert not report.ok
    assert short(name) in names(report)


def test_bytes_all_over_the_signed_parts_count(original: Original, copy: Copy) -> None:
    package = copy()
    for name in (ATTESTATION, f"{BAG}/{TAG_MANIFEST}"):
        whole = (package / name).read_bytes()
        for position in range(0, len(whole), 1 if len(whole) < 1000 else 7):
            flipped = bytearray(whole)
            flipped[position] ^= 0x20 if position % 2 else 0x01
            (package / name).write_bytes(flipped)
            assert short(name) in names(verify(package, original[1])), (name, position)
        (package / name).write_bytes(whole)
    assert verify(package, original[1]).ok


def test_any_removed_item_is_named(original: Original, copy: Copy) -> None:
    for name in files(original[0]):
        package = copy()
        (package / name).unlink()
        assert short(name) in names(verify(package, original[1])), name


@tampering
@given(
    name=st.sampled_from(
        ["", f"{BAG}/", f"{BAG}/data/", f"{BAG}/data/phases/1/", f"{BAG}/data/custody/"]
    ).flatmap(
        lambda folder: st.text("abcxyz0189._-%\\ \u00e9\n\x1b", min_size=1).map(
            lambda tail: folder + "n" + tail
        )
    ),
)
def test_any_added_item_is_named(original: Original, copy: Copy, name: str) -> None:
    package = copy()
    (package / name).write_bytes(b"")
    report = verify(package, original[1])
    added = [p for p in report.problems if p.message.startswith("added")]
    assert len(added) == 1
    assert added[0].item.isprintable()


def test_an_added_empty_folder_is_named(original: Original, copy: Copy) -> None:
    package = copy()
    (package / BAG / "data" / "empty").mkdir()
    assert "data/empty" in names(verify(package, original[1]))


@pytest.mark.parametrize("target", ["/etc/hostname", "../../attestation.dsse.json", "trigger"])
def test_a_symbolic_link_is_refused_even_to_the_right_content(
    original: Original, copy: Copy, target: str
) -> None:
    package = copy()
    (package / BAG / "data" / "link").symlink_to(target)
    report = verify(package, original[1])
    assert [(p.item, p.message) for p in report.problems] == [("data/link", "a symbolic link is refused")]


def test_a_payload_file_replaced_by_a_link_is_refused(original: Original, copy: Copy, tmp_path: Path) -> None:
    package = copy()
    raw = package / BAG / "data" / "trigger" / "raw.bin"
    raw.rename(tmp_path / "raw.bin")
    raw.symlink_to(tmp_path / "raw.bin")
    messages = {p.message for p in verify(package, original[1]).problems if p.item == "data/trigger/raw.bin"}
    assert {"missing", "a symbolic link is refused"} <= messages


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/hostname", "data/../../outside", "data//x", "~/x", "data/a\\b"]
)
def test_a_manifest_that_points_outside_is_refused(original: Original, copy: Copy, path: str) -> None:
    package = copy()
    manifest = package / BAG / MANIFEST
    manifest.write_text(manifest.read_text() + f"{'0' * 64}  {path}\n")
    assert any(
        "unsafe path" in p.message and p.item == MANIFEST for p in verify(package, original[1]).problems
    )


def test_a_foreign_key_is_named(original: Original, tmp_path: Path) -> None:
    generate_key(tmp_path / "other.pem")
    report = verify(original[0], load_public_keys([tmp_path / "other.pem.pub"]))
    (problem,) = report.problems
    assert problem.step == 3
    assert problem.item == ATTESTATION
    assert original[1][0].key.keyid in problem.message


def test_no_key_at_all_is_not_trust(original: Original) -> None:
    assert not verify(original[0], ()).ok


def test_a_forged_signature_under_a_trusted_key_id_is_found(
    original: Original, copy: Copy, tmp_path: Path
) -> None:
    package = copy()
    envelope = json.loads((package / ATTESTATION).read_bytes())
    generate_key(tmp_path / "other.pem")
    forged = json.loads(
        sign(base64.b64decode(envelope["payload"]), open_signer(f"file:{tmp_path}/other.pem"))
    )
    envelope["signatures"][0]["sig"] = forged["signatures"][0]["sig"]
    (package / ATTESTATION).write_text(json.dumps(envelope, separators=(",", ":"), sort_keys=True) + "\n")
    assert [p.message for p in verify(package, original[1]).problems if "is false" in p.message]


def _resign(desk: Any, package: Path, change: Callable[[dict[str, Any]], None]) -> Report:
    """What an insider with the key could do: alter the statement and sign it again."""
    body = json.loads(base64.b64decode(json.loads((package / ATTESTATION).read_bytes())["payload"]))
    change(body)
    subjects = {each["name"]: each["digest"]["sha256"] for each in body["subject"]}
    raw = statement(subjects, body["predicate"])
    (package / ATTESTATION).write_bytes(sign(raw, open_signer(f"file:{desk.key}")))
    return verify(package, desk.trusted())


def test_subjects_and_tag_manifest_must_agree_both_ways(desk: Any) -> None:
    package = desk.export(desk.seal(desk.small()))
    report = _resign(desk, package, lambda body: body["subject"].pop(0))
    assert [(p.step, p.item) for p in report.problems] == [(2, TAG_MANIFEST), (2, "VERIFY.md")]
    report = _resign(
        desk, package, lambda body: body["subject"].append({"name": "x", "digest": {"sha256": "0" * 64}})
    )
    assert {(p.step, p.item) for p in report.problems} == {(2, TAG_MANIFEST), (2, "VERIFY.md"), (2, "x")}


def test_a_statement_with_another_custody_head_is_found(desk: Any) -> None:
    package = desk.export(desk.seal(desk.small()))
    report = _resign(desk, package, lambda body: body["predicate"]["custody"].update(seq=5))
    assert [(p.step, p.item) for p in report.problems] == [(4, CUSTODY)]
    assert "seq 5 missing at the end" in report.problems[0].message


def test_a_live_statement_over_a_drill_bag_is_found(desk: Any) -> None:
    package = desk.export(desk.seal(desk.small(), Mode.DRILL))
    assert verify(package, desk.trusted(Mode.DRILL)).ok
    report = _resign(desk, package, lambda body: body["predicate"].update(mode="live"))
    assert [(p.step, p.item) for p in report.problems] == [(6, INFO)]


@pytest.mark.parametrize(("sealed", "trusted"), [(Mode.DRILL, Mode.LIVE), (Mode.LIVE, Mode.DRILL)])
def test_a_drill_key_signs_no_live_package_and_the_other_way_round(
    desk: Any, sealed: Mode, trusted: Mode
) -> None:
    report = verify(desk.export(desk.seal(desk.small(), sealed)), desk.trusted(trusted))
    assert [(p.step, p.item) for p in report.problems] == [(6, ATTESTATION)]
    assert str(desk.key) in report.problems[0].message


def test_drills_say_so(desk: Any) -> None:
    package = desk.export(desk.seal(desk.small(), Mode.DRILL))
    assert "DRILL" in (package / BAG / INFO).read_text()
    assert "DRILL" in (package / BAG / "VERIFY.md").read_text()
    assert verify(package, desk.trusted(Mode.DRILL)).mode is Mode.DRILL


def test_an_exhibit_outside_custody_is_named(desk: Any) -> None:
    exhibits = desk.small()
    lines, _ = custody.extend(custody.genesis("INC-1"), desk.events(exhibits[:-1]))
    contents = desk.contents(exhibits)
    sealed = seal(
        desk.vault,
        replace(contents, custody_lines=lines),
        open_signer(f"file:{desk.key}"),
    )
    report = verify(desk.export(sealed), desk.trusted())
    assert [(p.step, p.item) for p in report.problems] == [(4, exhibits[-1].evidence_id)]


def test_custody_that_names_an_unknown_exhibit_is_found(desk: Any) -> None:
    exhibits = desk.small()
    contents = desk.contents(exhibits)
    contents = replace(contents, exhibits=exhibits[1:])
    report = verify(desk.export(seal(desk.vault, contents, open_signer(f"file:{desk.key}"))), desk.trusted())
    assert [(p.step, p.item) for p in report.problems] == [(4, "trigger/raw.bin")]


def test_exhibit_records_must_agree_with_the_files(desk: Any) -> None:
    exhibits = desk.small()
    stored = exhibits[0].stored
    package = desk.export(desk.seal(exhibits))
    wrong = exhibits[0].model_copy(
        update={"stored": stored.model_copy(update={"size": 1, "locked_until": None, "version_id": ""})}
    )
    lines = (package / BAG / EXHIBITS).read_bytes().splitlines(keepends=True)
    lines[-1] = wrong.canonical() + b"\n"
    (package / BAG / EXHIBITS).write_bytes(b"".join(lines))
    found = [p.message for p in verify(package, desk.trusted()).problems if p.step == 5]
    assert len(found) == 3
    assert "recorded with 1 bytes, has 7" in found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"payload":1,"payloadType":2,"signatures":3}',
        b"[" * 100_000,
        b'{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[]}\n',
    ],
)
def test_any_rubbish_in_place_of_the_attestation_is_a_problem_and_no_crash(
    original: Original, copy: Copy, content: bytes
) -> None:
    package = copy()
    (package / ATTESTATION).write_bytes(content)
    report = verify(package, original[1])
    assert {(3, ATTESTATION)} <= {(p.step, p.item) for p in report.problems}


@tampering
@given(
    content=st.binary(max_size=300), name=st.sampled_from([MANIFEST, TAG_MANIFEST, INFO, CUSTODY, EXHIBITS])
)
def test_any_rubbish_in_a_list_is_a_problem_and_no_crash(
    original: Original, copy: Copy, content: bytes, name: str
) -> None:
    package = copy()
    (package / BAG / name).write_bytes(content)
    assert name in names(verify(package, original[1]))


@pytest.mark.parametrize("number", [2**53, 10**400, -1, 0])
def test_a_number_that_no_canonical_json_holds_is_a_problem_and_no_crash(
    original: Original, copy: Copy, number: int
) -> None:
    package = copy()
    chain = package / BAG / CUSTODY
    chain.write_text(chain.read_text().replace('"seq":2', f'"seq":{number}'))
    told = [p.message for p in verify(package, original[1]).problems if (p.step, p.item) == (4, CUSTODY)]
    assert "line 2, in the place of seq 2: not an entry (seq" in told[0]


def test_all_problems_are_reported_together(copy: Copy) -> None:
    package = copy()
    (package / BAG / "data/trigger/raw.bin").write_bytes(b"other")
    (package / BAG / "data/more").write_bytes(b"")
    (package / BAG / "data/phases/1/aws.deny-all/agent-1a2b/findings.json").unlink()
    report = verify(package, ())
    assert {p.step for p in report.problems} == {1, 3, 5}
    assert {"data/trigger/raw.bin", "data/more", ATTESTATION} <= names(report)
    assert "step 1: data/more: added" in str(report.problems[0]) + "".join(map(str, report.problems))


def planted(desk: Any, uri: str, at: str) -> None:
    """What whoever may write to the store can do: put another attestation in the place of one."""
    stored = desk.vault.find(f"{uri}.{ATTESTATION}")
    desk.vault.put(f"{at}.{ATTESTATION}", b"".join(desk.vault.read(stored)))


def other_incident(desk: Any) -> Sealed:
    """A genuine package of INC-2."""
    lines, _ = custody.extend(custody.genesis("INC-2"), desk.events([]))
    contents = replace(desk.contents([]), incident_id="INC-2", custody_lines=lines)
    return seal(desk.vault, contents, open_signer(f"file:{desk.key}"))


def test_another_incidents_package_in_the_place_of_one_is_named(desk: Any) -> None:
    sealed = desk.seal(desk.small())
    planted(desk, other_incident(desk).uri, "INC-1")
    package = desk.export(sealed)
    assert verify(package, desk.trusted()).ok, "it is genuine, of its own incident"
    report = verify(package, desk.trusted(), Expected.at(sealed.uri))
    assert [str(p) for p in report.problems] == [f"step 7: {ATTESTATION}: of INC-2, not of INC-1"]
    report = verify(package, desk.trusted(), Expected(manifest_sha256=sealed.manifest_sha256))
    assert [(p.step, p.item) for p in report.problems] == [(7, MANIFEST)]


def test_an_older_package_in_the_place_of_one_is_named(desk: Any) -> None:
    older = desk.seal(desk.small()[:2])
    desk.vault.put(f"INC-older.{ATTESTATION}", b"".join(desk.vault.read(older.attestation)))
    sealed = desk.seal(desk.small())
    expected = Expected.at(sealed.uri, sealed.manifest_sha256.upper())
    right = verify(desk.export(sealed, "right"), desk.trusted(), expected)
    assert right.ok
    assert (right.manifest_sha256, len(right.steps)) == (sealed.manifest_sha256, 7)
    planted(desk, desk.vault.uri("INC-older"), "INC-1")
    package = desk.export(sealed)
    assert verify(package, desk.trusted(), Expected.at(sealed.uri)).ok, "genuine, and of the incident"
    report = verify(package, desk.trusted(), expected)
    assert [(p.step, p.item) for p in report.problems] == [(7, MANIFEST)]
    assert report.manifest_sha256 == older.manifest_sha256


def test_a_package_without_a_statement_is_of_no_known_incident(original: Original, copy: Copy) -> None:
    package = copy()
    (package / ATTESTATION).unlink()
    report = verify(package, original[1], Expected(incident_id="INC-1"))
    assert [p.item for p in report.problems if p.step == 7] == [ATTESTATION]


@pytest.mark.parametrize("name", ["containment", "release"])
def test_packages_of_0_1_are_still_genuine(name: str) -> None:
    packages = Path(__file__).parents[2] / "data" / "packages-0.1"
    assert verify(packages / name, load_public_keys([packages / "signing.pem.pub"])).problems == ()


def test_a_folder_that_is_no_package_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="not an evidence package"):
        verify(tmp_path, ())
