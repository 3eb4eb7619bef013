"""Bad input through the real command line: exit code 2, one clear paragraph, and nothing done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from firebreak.model import Cloud
from tests.e2e.stack import Command, Stack
from tests.e2e.test_targets import OFFLINE


def refused(stack: Stack, *arguments: str) -> Command:
    """Run a command that must be refused as bad input before it makes a call to anyone."""
    before = stack.seq()
    done = stack.cli(*arguments)
    assert done.code == 2, f"{done.code}\n{done.err}\n{done.out}"
    assert done.out == ""
    assert "Traceback" not in done.err
    assert done.err.startswith("error: ")
    assert len(done.err) < 2000
    assert stack.seq() == before
    return done


def contain(stack: Stack, workload: str = "", *more: str) -> Command:
    workload = workload or stack.workload_id
    return refused(stack, "contain", workload, "--reason", "exfiltration", "--wait", *more)


def broken(stack: Stack, tmp_path: Path, **fields: object) -> Path:
    """The sample's inventory with fields of the sample agent replaced."""
    document = yaml.safe_load(stack.sample.inventory_path.read_text(encoding="utf-8"))
    document["workloads"][0].update(fields)
    path = tmp_path / "workloads.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def line_of(path: Path, text: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_an_unknown_workload_names_the_closest_one(stack: Stack) -> None:
    mistyped = stack.workload_id.replace("agent", "agnet")
    done = contain(stack, mistyped)
    assert f"there is no workload '{mistyped}'" in done.err
    assert f"did you mean {stack.workload_id}" in done.err


def test_an_unknown_workload_prints_one_json_document_when_asked(stack: Stack) -> None:
    before = stack.seq()
    done = stack.cli("contain", "nobody", "--reason", "r", "--json")
    assert done.code == 2
    assert done.document["error"]["exit_code"] == 2
    assert "nobody" in done.document["error"]["message"]
    assert stack.seq() == before


MALFORMED = {
    Cloud.AWS: "arn:aws:iam::2222:role/agent",
    Cloud.AZURE: (
        "/subscriptions/2222/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/agent"
    ),
}


def test_a_malformed_id_is_named_with_its_line(stack: Stack, tmp_path: Path) -> None:
    identity = {**stack.entry()["identities"][0], "ref": MALFORMED[stack.cloud]}
    path = broken(stack, tmp_path, identities=[identity])
    done = contain(stack, "", "--inventory", str(path))
    assert MALFORMED[stack.cloud][:80] in done.err
    assert f":{line_of(path, 'ref: ' + MALFORMED[stack.cloud][:40])}" in done.err


def test_invalid_yaml_is_named_with_its_line(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "workloads.yaml"
    path.write_text(
        "version: 1\nworkloads:\n  - id: agent\n    cloud: [aws\n  - id: other\n", encoding="utf-8"
    )
    done = contain(stack, "agent", "--inventory", str(path))
    assert f"{path}:" in done.err
    assert any(f":{line}" in done.err for line in (4, 5))


@pytest.mark.parametrize("region", ["eu-central-9", "../../etc"])
def test_a_region_that_does_not_exist_is_refused(stack: Stack, tmp_path: Path, region: str) -> None:
    path = broken(stack, tmp_path, region=region)
    done = contain(stack, "", "--inventory", str(path))
    assert f"region '{region}' is not" in done.err
    assert "the workload in" not in done.err


def test_resources_in_another_region_than_the_workload_are_refused(stack: Stack, tmp_path: Path) -> None:
    if stack.cloud is Cloud.AZURE:
        pytest.skip("an Azure resource id names no region")
    path = broken(stack, tmp_path, region="eu-west-1")
    done = contain(stack, "", "--inventory", str(path))
    assert "more resources are in region eu-central-1, the workload in eu-west-1" in done.err


def test_an_identity_in_another_account_than_the_workload_is_refused(stack: Stack, tmp_path: Path) -> None:
    identity, own = stack.entry()["identities"][0], stack.sample.workload_account
    other = FOREIGN[stack.cloud]
    path = broken(stack, tmp_path, identities=[{**identity, "ref": identity["ref"].replace(own, other)}])
    done = contain(stack, "", "--inventory", str(path))
    assert other in done.err
    assert f"the workload in {own}" in done.err


FOREIGN = {Cloud.AWS: "444444444444", Cloud.AZURE: "44444444-4444-4444-8444-444444444444"}


def test_an_oversized_inventory_is_refused_unread(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "workloads.yaml"
    path.write_text("version: 1\nworkloads: []\n" + "# padding\n" * 2_000_000, encoding="utf-8")
    done = contain(stack, "", "--inventory", str(path))
    assert str(path) in done.err
    assert "large" in done.err or "bytes" in done.err or "MiB" in done.err


def test_an_inventory_of_nested_aliases_is_refused(stack: Stack, tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = tmp_path / "workloads.yaml"
    path.write_text("\n".join(levels), encoding="utf-8")
    contain(stack, "", "--inventory", str(path))


def test_a_missing_inventory_is_refused(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "nowhere.yaml"
    assert str(path) in contain(stack, "", "--inventory", str(path)).err


@pytest.mark.parametrize("incident", ["../../etc/passwd", "", "x" * 65])
def test_an_incident_id_that_is_no_id_is_refused(stack: Stack, incident: str) -> None:
    assert "--incident" in contain(stack, "", f"--incident={incident}").err


def test_the_incident_of_another_workload_is_refused(stack: Stack) -> None:
    with stack.edited(consent={"mode": "approval", "timeout_seconds": 600}):
        started = stack.start()
        assert stack.settled(started).awaiting is not None
        done = contain(stack, OFFLINE[stack.cloud], f"--incident={started.incident_id}")
        assert f"already the incident of {stack.workload_id}" in done.err
        stack.decide(started.incident_id, "reject", by="riley")
        stack.ended(started)


@pytest.mark.parametrize("reason", ["", "x" * 2001])
def test_a_reason_that_says_nothing_or_too_much_is_refused(stack: Stack, reason: str) -> None:
    assert "--reason" in refused(stack, "contain", stack.workload_id, "--reason", reason).err


def test_a_missing_reason_is_refused(stack: Stack) -> None:
    assert "--reason" in refused(stack, "contain", stack.workload_id).err


@pytest.mark.parametrize("command", ["status", "approve", "release"])
def test_an_unknown_run_is_refused(stack: Stack, command: str) -> None:
    people = {"status": (), "release": ("--by", "alice", "--approved-by", "bob")}
    more = people.get(command, ("--by", "alice", "--reason", "r"))
    assert "INC-404" in refused(stack, command, "INC-404", *more).err


def test_a_malformed_setting_is_named(stack: Stack) -> None:
    before = stack.seq()
    done = stack.cli("contain", stack.workload_id, "--reason", "r", FIREBREAK_PROOF__CONSECUTIVE="many")
    assert done.code == 2
    assert "FIREBREAK_PROOF__CONSECUTIVE" in done.err
    assert "Traceback" not in done.err
    assert stack.seq() == before


def test_a_text_with_control_characters_reaches_no_terminal(stack: Stack) -> None:
    done = contain(stack, "evil\x1b[2Jagent")
    assert "\x1b" not in done.err
    assert json.dumps(done.err)
