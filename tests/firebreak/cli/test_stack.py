"""The command line as a user works with it: one shell runs ``up``, another one acts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from drills.sandbox.aws.client import SandboxClient
from tests.fields import FINDING_FIELDS, MEASURE_FIELDS, PHASE_FIELDS, RUN_FIELDS
from tests.firebreak.cli.conftest import Result

pytestmark = pytest.mark.slow  # two clouds and their rogue agents, for minutes

WORKLOAD, CLOUD = "support-rag-agent", "aws"
CLOUDS = {WORKLOAD: CLOUD, "claims-triage-agent": "azure"}
UP_SECONDS = 240.0
ELSEWHERE = {
    "TEMPORAL_ADDRESS": "127.0.0.1:1",
    "TEMPORAL_API_KEY": "elsewhere",
    "TEMPORAL_NAMESPACE": "elsewhere",
    "FIREBREAK_TASK_QUEUE": "elsewhere",
    "FIREBREAK_NOTIFY__PAGERDUTY_KEY": "elsewhere",
    "FIREBREAK_CONSOLE__OIDC__ISSUER": "elsewhere",
}
"""What a responder's shell says of production; nothing of it may hold in a stack for trying things out."""


@dataclass(frozen=True)
class Shell:
    """A second shell that has read the settings of ``up``."""

    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes]

    @property
    def sandbox(self) -> SandboxClient:
        return SandboxClient(self.environment["AWS_ENDPOINT_URL"])

    def __call__(self, *arguments: str) -> Result:
        ended = subprocess.run(
            [sys.executable, "-m", "firebreak", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Result(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("up") / "stack"
    log = folder.with_name("up.log")
    fast = {"FIREBREAK_PROOF__SPACING_SECONDS": "0.5"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "firebreak", "up", "--folder", str(folder)],
            env={**os.environ, **fast, **ELSEWHERE, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + UP_SECONDS
        while "In another shell" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield Shell(folder, _sourced(folder / "env", ELSEWHERE | fast), process)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def contained(shell: Shell) -> Result:
    return shell("contain", WORKLOAD, "--reason", "data leaves", "--incident", "INC-1", "--wait", "--json")


def test_up_names_every_sandbox_and_workload(shell: Shell) -> None:
    told = shell.folder.with_name("up.log").read_text()
    for workload, cloud in CLOUDS.items():
        assert f"{cloud} sandbox http://127.0.0.1:" in told
        assert f"contain {workload} " in told


def test_no_process_of_the_stack_knows_what_the_shell_said_of_production(shell: Shell) -> None:
    seen = [each.environ() for each in psutil.Process(shell.process.pid).children(recursive=True)]
    assert len(seen) >= 8
    for environment in (*seen, shell.environment):
        assert set(ELSEWHERE.items()).isdisjoint(environment.items())


def test_up_prints_a_login_link_for_each_of_two_people(shell: Shell) -> None:
    links = [line.strip().split(": ") for line in shell.folder.with_name("up.log").read_text().splitlines()]
    found = {words[0]: words[1] for words in links if "/login/once?" in words[-1]}
    assert len(found) == 2
    for name, link in found.items():
        with httpx.Client(trust_env=False) as browser:
            assert browser.get(link).headers["location"] == "/"
            url = link.split("/login")[0]
            assert name in browser.get(f"{url}/", headers={"accept": "text/html"}).text
            assert browser.get(link, headers={"accept": "text/html"}).status_code == 401


def test_a_plan_is_shown_and_nothing_is_changed(shell: Shell) -> None:
    since = shell.sandbox.calls().next
    result = shell("contain", WORKLOAD, "--reason", "look", "--plan", "--json")
    assert result.code == 0, result.stderr
    plan = result.json
    assert {step["phase"] for step in plan["steps"]} == {1, 2, 3, 4}
    assert plan["refusals"] == plan["missing_permissions"] == []
    responder = shell.sandbox.calls(since, mutating=True, principal="firebreak").calls
    assert responder == []


@pytest.mark.parametrize("cloud", CLOUDS.values())
def test_doctor_finds_everything_in_place(shell: Shell, cloud: str) -> None:
    result = shell("doctor", "--cloud", cloud, "--json")
    assert result.code == 0, result.stdout
    assert {check["outcome"] for check in result.json["checks"]} == {"ok"}


def test_contain_prints_the_document_of_the_contract(contained: Result) -> None:
    assert contained.code == 0, contained.stdout + contained.stderr
    document = contained.json
    assert set(document) >= RUN_FIELDS
    assert (document["incident_id"], document["verdict"], document["mode"]) == ("INC-1", "contained", "live")
    assert [phase["phase"] for phase in document["phases"]] == [1, 2, 3, 4]
    for phase in document["phases"]:
        assert set(phase) >= PHASE_FIELDS
        for measure in phase["measures"]:
            assert set(measure) >= MEASURE_FIELDS
            assert measure["findings"]
            for finding in measure["findings"]:
                assert set(finding) >= FINDING_FIELDS
                assert finding["holds"] is True
    starts = [phase["started_at"] for phase in document["phases"]]
    ends = [phase["verified_at"] for phase in document["phases"]]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_progress_goes_to_standard_error_line_by_line(contained: Result) -> None:
    assert "phase 1 identity revoke" in contained.stderr
    assert "\x1b" not in contained.stderr + contained.stdout


def test_the_run_is_found_by_each_of_its_names(shell: Shell, contained: Result) -> None:
    names = [contained.json[key] for key in ("incident_id", "workflow_id", "workload_id")]
    for name in names:
        found = shell("status", name, "--json")
        assert (found.code, found.json["verdict"]) == (0, "contained"), found.stderr
    assert "contained after" in shell("status", "INC-1").stdout
    listed = shell("status", "--json").json["runs"]
    assert ("INC-1", "containment") in {(each["incident_id"], each["kind"]) for each in listed}


def test_an_unknown_run_is_invalid_input(shell: Shell) -> None:
    result = shell("status", "INC-404", "--json")
    assert (result.code, result.json["error"]["type"]) == (2, "NotFoundError")


@pytest.mark.usefixtures("contained")
@pytest.mark.parametrize("decision", ["approve", "reject", "retry", "proceed", "stop"])
def test_a_decision_on_an_ended_run_is_refused(shell: Shell, decision: str) -> None:
    result = shell(decision, "INC-1", "--by", "ada", "--reason", "late", "--json")
    assert (result.code, result.json["error"]["type"]) == (4, "GuardError")


def test_the_evidence_is_shown_exported_and_verified(shell: Shell, contained: Result) -> None:
    uri = contained.json["evidence"]["uri"]
    shown = shell("evidence", "show", uri, "--json")
    assert shown.code == 0, shown.stderr
    assert len(shown.json["exhibits"]) > 20
    assert shown.json["custody"][0]["seq"] == 1

    package = shell.folder / "package"
    assert shell("evidence", "export", uri, str(package)).code == 0
    key = shell.folder / "key.pub"
    key.write_text(_public_key(shell), encoding="utf-8")
    verified = shell("evidence", "verify", str(package), "--trust", str(key), "--json")
    assert (verified.code, verified.json["ok"]) == (0, True), verified.stdout
    report, where = ("evidence", "report", str(package), "--trust", str(key)), shell.folder / "report.html"
    made = shell(*report, "--html", str(where), "--json")
    assert (made.code, made.json["genuine"], made.json["files"]) == (0, True, [str(where)]), made.stderr
    page = where.read_text(encoding="utf-8")
    assert "genuine" in page
    for phase in contained.json["phases"]:
        assert f">{phase['phase']} {phase['title']}</td>" in page
        assert all(measure["name"] in page and measure["target"] in page for measure in phase["measures"])

    exhibit = next((package / "bag" / "data").rglob("change.json"))
    exhibit.chmod(0o600)
    exhibit.write_bytes(exhibit.read_bytes() + b" ")
    altered = shell("evidence", "verify", str(package), "--trust", str(key))
    assert altered.code == 3
    assert exhibit.name in altered.stdout
    assert shell(*report, "--html", str(where)).code == 3
    assert "do not rely on it" in where.read_text(encoding="utf-8")


def test_a_package_is_compared_with_the_one_that_the_run_sealed(shell: Shell, contained: Result) -> None:
    uri, manifest = (contained.json["evidence"][name] for name in ("uri", "manifest_sha256"))
    key = shell.folder / "the.pub"
    key.write_text(_public_key(shell), encoding="utf-8")
    check = ("evidence", "verify", uri, "--trust", str(key), "--json", "--manifest-sha256")
    verified = shell(*check, manifest)
    assert (verified.code, len(verified.json["steps"])) == (0, 7), verified.stdout
    assert (verified.json["incident_id"], verified.json["manifest_sha256"]) == ("INC-1", manifest)
    other = shell(*check, "0" * 64)
    assert (other.code, other.json["steps"][6]["problems"][0]["item"]) == (3, "manifest-sha256.txt")


@pytest.mark.usefixtures("contained")
def test_a_release_takes_two_people_and_gives_the_workload_back(shell: Shell) -> None:
    alone = shell("release", "INC-1", "--by", "ada", "--approved-by", "ada", "--json")
    assert (alone.code, alone.json["error"]["type"]) == (4, "GuardError")
    released = shell("release", "INC-1", "--by", "ada", "--approved-by", "grace", "--wait", "--json")
    assert (released.code, released.json["verdict"]) == (0, "released"), released.stdout + released.stderr


@pytest.mark.parametrize("cloud", CLOUDS.values())
def test_permissions_are_printed_for_the_inventory(shell: Shell, cloud: str) -> None:
    documents = shell("permissions", "--cloud", cloud)
    assert documents.code == 0, documents.stderr
    assert set(documents.json) >= {"responder", "evidence", "discovery"}
    one = shell("permissions", "--cloud", cloud, "--role", "responder")
    assert one.json == documents.json["responder"]


def test_up_leaves_nothing_behind_when_it_is_stopped(shell: Shell) -> None:
    """Last on purpose: it ends the stack."""
    children = psutil.Process(shell.process.pid).children(recursive=True)
    assert len(children) >= 8  # Temporal, and for each cloud its sandbox, worker and rogue agent
    shell.process.send_signal(signal.SIGTERM)
    assert shell.process.wait(60) == 0
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def _sourced(path: Path, before: dict[str, str]) -> dict[str, str]:
    """The variables of a shell that had some of its own when it read the file."""
    script = 'set -a; . "$1"; exec env --null'
    shell = subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(path)],
        env={**os.environ, **before},
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = (line.partition("=") for line in shell.stdout.split("\0") if line)
    return {name: value for name, _, value in pairs}


def _public_key(shell: Shell) -> str:
    program = (
        "from firebreak.model import Cloud, Mode; from firebreak.provider import provider; "
        "from firebreak.settings import load_settings; "
        "print(provider(Cloud.AWS).signer(load_settings(), Mode.LIVE).public_key.keyval['public'])"
    )
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, env=shell.environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout
