"""No container engine runs here: the compose file is checked by its schema and against what tests start.

``data/compose-spec.json`` is the Compose Specification's own JSON schema (Apache-2.0, see
``data/LICENSE.compose-spec``), taken unchanged from the distribution check-jsonschema 0.39.0.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from drills.sandbox import sample as joining
from drills.sandbox.aws import rogue, server
from drills.sandbox.aws.sample import __main__ as sample
from drills.sandbox.azure import rogue as azure_rogue
from drills.sandbox.azure import server as azure_server
from drills.sandbox.azure.sample import __main__ as azure_sample
from drills.stack import AWS_WORKER, AZURE_WORKER, WORKFLOW_WORKER
from firebreak.cli.app import firebreak

ROOT = Path(__file__).resolve().parent.parent
SCHEMA_SHA256 = "d549057ebc2925f39f62799eab0db7b9e2c18b35b6c00595199116da3ed10e64"
MODULES = {
    "drills.sandbox.aws.server": server.main,
    "drills.sandbox.aws.sample": sample.main,
    "drills.sandbox.aws.rogue": rogue.main,
    "drills.sandbox.azure.server": azure_server.main,
    "drills.sandbox.azure.sample": azure_sample.main,
    "drills.sandbox.azure.rogue": azure_rogue.main,
    "drills.sandbox.sample": joining.main,
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


@pytest.fixture(scope="module")
def ours(compose: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in compose["services"].items() if each.get("build")}


def test_the_file_is_valid_by_the_specification(compose: dict[str, Any]) -> None:
    raw = (ROOT / "tests/data/compose-spec.json").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == SCHEMA_SHA256
    schema = json.loads(raw)
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(compose)] == []
    broken = compose | {"services": {"sandbox": {"comand": []}}}
    assert list(validator.iter_errors(broken)), "the validator sees mistakes"


def test_what_a_service_waits_for_exists_and_can_say_that_it_is_ready(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, f"{name} waits for {needed}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed]


def test_volumes_are_declared(compose: dict[str, Any]) -> None:
    used = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
    }
    assert used == set(compose["volumes"])


def test_our_services_run_what_tests_start_natively(ours: dict[str, Any], tmp_path: Path) -> None:
    for needed in ("aws/rogue.json", "azure/rogue.json", "authority/ca.pem"):
        (tmp_path / needed).parent.mkdir(exist_ok=True)
        (tmp_path / needed).touch()
    commands = {name: _unwrapped(service["command"]) for name, service in ours.items()}
    assert commands["workflow-worker"] == ["firebreak", *WORKFLOW_WORKER]
    assert commands["aws-worker"] == ["firebreak", *AWS_WORKER]
    assert commands["azure-worker"] == ["firebreak", *AZURE_WORKER]
    for command in commands.values():
        _parse([part.replace("/run/sandbox", str(tmp_path)) for part in command])


def test_only_the_worker_of_a_cloud_gets_its_credentials(ours: dict[str, Any]) -> None:
    worker = ours["workflow-worker"]
    assert "volumes" not in worker
    assert set(worker["environment"]) == {"TEMPORAL_ADDRESS"}
    for cloud, other in (("aws", "azure"), ("azure", "aws")):
        mounted = [each.split(":") for each in ours[f"{cloud}-worker"]["volumes"]]
        assert all(each[2] == "ro" for each in mounted)
        assert not [each for each in mounted if each[0].startswith(other)]


def test_the_command_line_joins_what_the_samples_left(ours: dict[str, Any], tmp_path: Path) -> None:
    script = ours["firebreak"]["entrypoint"][2]
    joining_command = shlex.split(script.partition("&&")[0])
    for cloud in ("aws", "azure"):
        (tmp_path / cloud).mkdir()
    _parse([part.replace("/run/sandbox", str(tmp_path)) for part in joining_command])
    assert ". /tmp/both/env" in script


def test_our_containers_are_locked_down(ours: dict[str, Any]) -> None:
    for service in ours.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_nothing_is_published_beyond_this_machine(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_runs_as_nobody_in_particular_and_installs_by_hash() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    users = [line for line in lines if line.startswith("USER")]
    assert users == ["USER 10001"]
    assert any("--require-hashes" in line for line in lines)
    copied = [line.split()[1] for line in lines if line.startswith("COPY") and "--from" not in line]
    allowed = (ROOT / ".dockerignore").read_text()
    for path in copied:
        assert (ROOT / path).exists()
        assert f"!{path}\n" in allowed


def _unwrapped(command: list[str]) -> list[str]:
    """The command behind ``sh -c "set -a; . FILE; exec COMMAND"``."""
    if command[:2] == ["sh", "-c"]:
        return shlex.split(command[2].rpartition("exec ")[2])
    return command


def _parse(command: list[str]) -> None:
    """Let click parse the command line as the process would; a wrong option raises."""
    if command[:2] == ["python", "-m"]:
        MODULES[command[2]].make_context(command[2], command[3:], resilient_parsing=False)
        return
    assert command[0] == "firebreak"
    context = firebreak.make_context("firebreak", command[1:])
    found = firebreak.get_command(context, command[1])
    assert isinstance(found, click.Command)
    found.make_context(command[1], command[2:], parent=context)
