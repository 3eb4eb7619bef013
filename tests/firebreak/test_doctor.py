"""What is broken is named with its remedy; the sound case is tested against the embedded stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client

from firebreak.devserver import DevServer, dev_server
from firebreak.doctor import Examination, Outcome, examine
from firebreak.model import Cloud
from tests.firebreak.test_inventory import WHOLE


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sound inventory, and no Temporal server."""
    (tmp_path / "workloads.yaml").write_text(WHOLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")


def outcomes(made: Examination) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in made.checks}


async def test_a_missing_server_fails_and_what_needs_it_is_skipped() -> None:
    made = await examine(None)
    assert outcomes(made) == {
        "import names": Outcome.OK,
        "settings": Outcome.OK,
        "inventory": Outcome.OK,
        "rules": Outcome.OK,
        "messages": Outcome.OK,
        "temporal": Outcome.FAILED,
        "workers": Outcome.SKIPPED,
        "clouds": Outcome.SKIPPED,
    }
    failed = next(check for check in made.checks if check.outcome is Outcome.FAILED)
    assert "127.0.0.1:1" in failed.detail
    assert "TEMPORAL_ADDRESS" in failed.remedy
    assert made.exit_code == 1


async def test_a_malformed_setting_ends_the_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREBREAK_GUARD__MAX_TARGETS", "none")
    made = await examine(None)
    assert outcomes(made)["settings"] is Outcome.FAILED
    assert outcomes(made)["everything else"] is Outcome.SKIPPED
    assert made.exit_code == 2


@pytest.mark.parametrize(
    "variable",
    [
        "FIREBREAK_GUARD__PROTECTED_PRINCIPALS",
        "FIREBREAK_NOTIFY__URLS",
        "FIREBREAK_EVIDENCE__ACCESS",
        "FIREBREAK_GUARD_PROTECTED_PRINCIPALS",
    ],
)
async def test_a_setting_that_is_no_json_or_none_at_all_is_a_row_of_its_own(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "arn:x")
    made = await examine(None)
    failed = next(check for check in made.checks if check.outcome is Outcome.FAILED)
    assert (failed.name, made.exit_code) == ("settings", 2)
    assert variable in failed.detail


WITHOUT_EXTRAS = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"cedarpy", "itsdangerous", "apprise", "httpx", "standardwebhooks"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from firebreak.cli.app import run
sys.exit(run(["doctor", "--json"]))
"""


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, {"rules": "skipped", "messages": "ok"}),
        (
            {"FIREBREAK_NOTIFY__URLS": '["json://x"]', "FIREBREAK_CONSOLE__POLICY_FILE": "my.cedar"},
            {"rules": "failed", "messages": "failed"},
        ),
        ({"FIREBREAK_LINKS__SECRETS": '["short"]'}, {"rules": "skipped", "messages": "failed"}),
    ],
)
def test_an_extra_that_is_not_installed_fails_only_what_the_settings_ask_of_it(
    settings: dict[str, str], found: dict[str, str]
) -> None:
    command = [sys.executable, "-c", WITHOUT_EXTRAS]
    ended = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, check=False, timeout=60
    )
    checks = {each["name"]: each for each in json.loads(ended.stdout)["checks"]}
    assert {name: checks[name]["outcome"] for name in found} == found
    failed = [each for each in checks.values() if each["name"] in found and each["outcome"] == "failed"]
    assert {each["remedy"] for each in failed} <= {"install firebreak[web]"}


async def test_an_unusable_inventory_is_invalid_input(tmp_path: Path) -> None:
    (tmp_path / "workloads.yaml").write_text("version: 1\n")
    made = await examine(None)
    assert outcomes(made)["inventory"] is Outcome.FAILED
    assert made.exit_code == 2


async def test_a_missing_evidence_store_is_named_by_its_setting() -> None:
    made = await examine(Cloud.AWS)
    failed = {check.name: check.detail for check in made.checks if check.outcome is Outcome.FAILED}
    assert "FIREBREAK_EVIDENCE__STORE" in failed["evidence store"]
    assert outcomes(made)["credentials and permissions"] is Outcome.SKIPPED


@pytest.mark.parametrize(
    ("variable", "value", "check", "says"),
    [
        ("FIREBREAK_CONSOLE__POLICY_FILE", "gone.cedar", "rules", "gone.cedar"),
        ("FIREBREAK_NOTIFY__URLS", '["nosuch://place"]', "messages", "FIREBREAK_NOTIFY__URLS: number 1"),
        ("FIREBREAK_LINKS__SECRETS", '["short"]', "messages", "FIREBREAK_LINKS__SECRETS"),
    ],
)
async def test_what_could_not_be_asked_or_told_is_named(
    variable: str, value: str, check: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    failed = {each.name: each for each in (await examine(None)).checks if each.outcome is Outcome.FAILED}
    assert says in f"{failed[check].detail} {failed[check].remedy}"
    assert value not in failed[check].detail or check == "rules"


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DevServer]:
    """A Temporal server without any worker, as it is set up by itself."""
    with dev_server(tmp_path / "temporal", memory=True) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        yield server


async def test_a_namespace_that_soon_forgets_runs_is_told_since_they_cannot_be_released_then(
    fresh: DevServer,
) -> None:
    told = next(check for check in (await examine(None)).checks if check.name == "retention")
    assert told.outcome is Outcome.FAILED
    assert "1 day" in told.detail
    assert "--retention 720h" in told.remedy
    client, kept = await Client.connect(fresh.address), Duration()
    kept.FromTimedelta(timedelta(days=30))
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(
            namespace="default", config=NamespaceConfig(workflow_execution_retention_ttl=kept)
        )
    )
    assert outcomes(await examine(None))["retention"] is Outcome.OK
