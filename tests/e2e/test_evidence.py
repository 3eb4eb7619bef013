"""The evidence of a real run: verified offline, every tampering named, and no secret of anybody in it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drills.sandbox.aws.sample import EVIDENCE_ACCOUNT, ORCHESTRATOR_ACCOUNT, WORKLOAD_ACCOUNT
from firebreak.evidence.layout import ATTESTATION, BAG, CUSTODY, MANIFEST
from firebreak.evidence.sign import generate_key, load_public_keys
from firebreak.evidence.verify import Report, verify
from firebreak.model import Cloud
from tests.chaos.rig import Rig, rig
from tests.e2e.scene import Scene


@dataclass(frozen=True)
class Case:
    """The sealed package of one incident, and everything else that the run left behind."""

    package: Path
    key: Path
    document: dict[str, Any]
    history: bytes
    logs: bytes
    secrets: tuple[str, ...]
    rogue_config: bytes


@pytest.fixture(scope="module")
def case(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """A containment by worker processes that log all they can, exported by the command line."""
    folder = tmp_path_factory.mktemp("evidence")
    with rig(folder, scene, {"FIREBREAK_LOG_LEVEL": "DEBUG"}) as run:
        run.start_workers()
        code, document = run.contain().finish()
        assert (code, document["verdict"]) == (0, "contained")
        exported = run.command("evidence", "export", document["evidence"]["uri"], str(folder / "package"))
        assert exported.returncode == 0, exported.stderr
        key = scene.export_key(run.sample, folder / "live.pub")
        history = asyncio.run(run.history(document["workflow_id"]))
        yield Case(
            package=folder / "package",
            key=key,
            document=document,
            history=b"".join(event.SerializeToString() for event in history.events),
            logs=b"".join(path.read_bytes() for path in sorted(folder.glob("*.log"))),
            secrets=secrets_of(run),
            rogue_config=(folder / "rogue.json").read_bytes(),
        )


def secrets_of(run: Rig) -> tuple[str, ...]:
    """Every secret key and token that anybody holds in the sandbox."""
    return SECRETS[run.scene.cloud](run)


def aws_secrets(run: Rig) -> tuple[str, ...]:
    known = [run.sample.orchestrator_credentials, *run.sample.rogue_config["principals"].values()]
    accounts = (ORCHESTRATOR_ACCOUNT, WORKLOAD_ACCOUNT, EVIDENCE_ACCOUNT)
    known += [run.sandbox.bootstrap(account).boto3_arguments() for account in accounts]
    given = [text for each in known for name, text in each.items() if name != "aws_access_key_id"]
    return (*given, *run.sandbox.request("GET", "/session-secrets")["secrets"])


def azure_secrets(run: Rig) -> tuple[str, ...]:
    """The rogue agent's, the worker's own, and every token that the sandbox has issued; of a JSON Web Token
    the signature alone, which nobody else can have."""
    config = run.sample.rogue_config
    own = [run.sample.token_file.read_text(), *config["tokens"].values()]
    forms = [step.get("form", {}) for each in config["channels"] for step in each.get("steps", ())]
    own += [form[name] for form in forms for name in ("client_secret", "client_assertion") if name in form]
    issued = run.sandbox.request("GET", "/secrets")["secrets"]
    return tuple({each.rpartition(".")[2] or each for each in (*own, *issued)})


SECRETS = {Cloud.AWS: aws_secrets, Cloud.AZURE: azure_secrets}


@pytest.fixture
def copy(case: Case, tmp_path: Path) -> Path:
    return Path(shutil.copytree(case.package, tmp_path / "package"))


def test_package_is_verified_without_any_cloud(case: Case) -> None:
    offline = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "firebreak",
            "evidence",
            "verify",
            str(case.package),
            "--trust",
            str(case.key),
        ],
        env=offline,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"incident {case.document['incident_id']}: genuine" in done.stdout


def test_package_is_checked_by_sha256sum_alone(case: Case) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", MANIFEST],  # noqa: S607 - whatever the machine has
        cwd=case.package / BAG,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_package_says_what_the_run_said(case: Case) -> None:
    report = checked(case.package, case)
    assert report.ok
    assert report.containment["verdict"] == "contained"
    assert report.incident_id == case.document["incident_id"]
    phases = report.containment["phases"]
    assert [phase["verified_at"] for phase in phases] == [p["verified_at"] for p in case.document["phases"]]
    assert report.exhibits > 50


def test_any_flipped_byte_is_named(case: Case, copy: Path) -> None:
    for path in files(copy):
        original = path.read_bytes()
        if not original:
            continue
        middle = len(original) // 2
        path.write_bytes(original[:middle] + bytes([original[middle] ^ 1]) + original[middle + 1 :])
        assert_named(checked(copy, case), path, copy)
        path.write_bytes(original)
    assert checked(copy, case).ok


def test_any_removed_item_is_named(case: Case, copy: Path) -> None:
    for path in files(copy):
        original = path.read_bytes()
        path.unlink()
        assert_named(checked(copy, case), path, copy)
        path.write_bytes(original)
    assert checked(copy, case).ok


def test_added_item_is_named(case: Case, copy: Path) -> None:
    planted = copy / BAG / "data" / "phases" / "alibi.json"
    planted.write_text("{}")
    assert_named(checked(copy, case), planted, copy)


@pytest.mark.parametrize("change", ["swapped", "dropped", "repeated"])
def test_altered_custody_chain_is_named_with_its_line(case: Case, copy: Path, change: str) -> None:
    path = copy / BAG / CUSTODY
    lines = path.read_text().splitlines(keepends=True)
    changes: dict[str, Callable[[], list[str]]] = {
        "swapped": lambda: [lines[0], lines[2], lines[1], *lines[3:]],
        "dropped": lambda: lines[:-1],
        "repeated": lambda: [*lines[:2], lines[1], *lines[2:]],
    }
    path.write_text("".join(changes[change]()))
    chain = [each for each in checked(copy, case).problems if each.step == 4 and each.item == CUSTODY]
    assert chain, "the chain itself must tell, not only the file's hash"
    words = {"swapped": "reordered", "dropped": "end", "repeated": "repeated"}
    assert any(words[change] in each.message for each in chain), [str(each) for each in chain]


def test_foreign_key_is_named_on_the_command_line(case: Case, tmp_path: Path) -> None:
    generate_key(tmp_path / "foreign.pem")
    report = verify(case.package, load_public_keys([tmp_path / "foreign.pem.pub"]))
    assert not report.ok
    assert report.signed_by == ()
    assert [each.item for each in report.problems] == [ATTESTATION]
    assert report.problems[0].step == 3


def test_no_secret_of_anybody_is_in_the_package(case: Case) -> None:
    for path in files(case.package):
        assert leaked(path.read_bytes(), case) == [], path.relative_to(case.package)


def test_no_secret_of_anybody_is_in_the_history_or_the_logs(case: Case) -> None:
    assert b"firebreak.contain" in case.history
    assert b"measure.applied" in case.logs
    assert leaked(case.history, case) == []
    assert leaked(case.logs, case) == []


def test_the_search_for_secrets_finds_them_where_they_are(case: Case) -> None:
    assert len(case.secrets) > 20
    assert leaked(case.rogue_config, case)


def leaked(content: bytes, case: Case) -> list[str]:
    """Secrets found in some bytes, shortened."""
    return [f"{secret[:4]}..." for secret in case.secrets if secret.encode() in content]


def checked(folder: Path, case: Case) -> Report:
    return verify(folder, load_public_keys([case.key]))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def assert_named(report: Report, path: Path, root: Path) -> None:
    name = str(path.relative_to(root)).removeprefix(f"{BAG}/")
    assert not report.ok
    assert name in {each.item for each in report.problems}, [str(each) for each in report.problems]
