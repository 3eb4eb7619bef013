from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

from firebreak.cli import app, evidence
from firebreak.cli.app import COMMANDS, run
from firebreak.errors import FirebreakError, GuardError, InventoryError, UsageError
from firebreak.model import Cloud, Mode
from firebreak.settings import EvidenceSettings, Settings
from tests.firebreak.cli.conftest import Cli

PROMISED = [
    *("demo", "up", "contain", "status", "approve", "reject", "retry", "proceed", "stop", "release"),
    *("evidence", "inventory", "measures", "permissions", "worker", "serve", "break-glass", "doctor"),
]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """A command that raises what the test puts into the list."""
    errors: list[BaseException] = []

    @click.command()
    @click.option("--json", is_flag=True, expose_value=False)
    def fail() -> None:
        raise errors[0]

    monkeypatch.setattr(app.LazyGroup, "get_command", lambda *_: fail)
    return errors


def test_every_promised_command_is_there_and_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(COMMANDS) == PROMISED
    for name in PROMISED:
        assert run([name, "--help"]) == 0
    assert run(["evidence", "verify", "--help"]) == 0
    assert "Usage: firebreak contain" in capsys.readouterr().out


def test_the_list_of_commands_loads_no_cloud() -> None:
    probe = (
        "import sys; from firebreak.cli.app import run; assert run(['--help']) == 0; "
        "print(sorted({'azure', 'boto3', 'httpx', 'securesystemslib.signer'} & set(sys.modules)))"
    )
    listed = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    *lines, loaded = listed.stdout.splitlines()
    assert loaded == "[]"
    for name in PROMISED:
        assert any(line.split()[:1] == [name] and len(line.split()) > 1 for line in lines)


def test_the_command_runs_as_a_process(process: Cli) -> None:
    result = process("--version")
    assert (result.code, result.stdout) == (0, "firebreak, version 0.1.0\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["contain"],
        ["contain", "a"],
        ["approve", "INC-1", "--by", "ada"],
        ["permissions"],
        ["permissions", "--cloud", "mainframe"],
        ["evidence", "verify"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_exits_2_with_one_document(arguments: list[str], cli: Cli) -> None:
    result = cli(*arguments, "--json")
    assert result.code == 2
    assert result.json["error"]["exit_code"] == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [(FirebreakError("a"), 1), (InventoryError("a"), 2), (GuardError("a"), 4), (KeyboardInterrupt(), 130)],
)
def test_each_error_has_its_exit_code(error: BaseException, code: int, failing: list[BaseException]) -> None:
    failing.append(error)
    assert run(["fail"]) == code


def test_an_error_says_what_happened_and_what_to_do(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(GuardError("too many targets", resource="arn:x", remedy="raise the limit"))
    run(["fail", "--json"])
    captured = capsys.readouterr()
    assert captured.err == "error: too many targets [arn:x]\nnext: raise the limit\n"
    assert json.loads(captured.out) == {
        "error": {
            "type": "GuardError",
            "message": "too many targets [arn:x]",
            "resource": "arn:x",
            "remedy": "raise the limit",
            "exit_code": 4,
        }
    }


def test_who_has_no_login_name_is_asked_for_a_name(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_000)  # no account has it, as in many containers
    result = cli("contain", "agent", "--reason", "x")
    assert result.code == 2
    assert "no login name" in result.stderr
    assert "--by NAME" in result.stderr


def test_a_key_file_that_is_not_there_is_wrong_usage(cli: Cli) -> None:
    for command in ("verify", "report"):
        for option in ("--trust", "--trust-drill"):
            result = cli("evidence", command, "package", option, "missing.pub")
            assert result.code == 2, command
            assert "missing.pub" in result.stderr


def test_an_unexpected_error_is_one_line_and_a_traceback_only_on_request(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(ZeroDivisionError("password=hunter2"))
    assert run(["fail"]) == 1
    plain = capsys.readouterr().err
    assert run(["--debug", "fail"]) == 1
    detailed = capsys.readouterr().err
    assert plain.splitlines()[0] == "error: unexpected ZeroDivisionError: password=[redacted]"
    assert "--debug" in plain
    assert "Traceback" not in plain
    assert "Traceback" in detailed
    assert "hunter2" not in plain + detailed


def test_what_a_terminal_would_obey_is_not_printed(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(FirebreakError("\x1b[2Jgone\r"))
    run(["fail"])
    assert capsys.readouterr().err == "error: \\x1b[2Jgone\\x0d\n"


@pytest.mark.parametrize(
    ("uri", "cloud"),
    [
        ("s3://evidence/firebreak/INC-1", Cloud.AWS),
        ("https://evidence1.blob.core.windows.net/evidence/firebreak/INC-1", Cloud.AZURE),
        ("https://evidence1.blob.core.usgovcloudapi.net/evidence/INC-1", Cloud.AZURE),
        ("https://evidence1.blob.core.windows.net.elsewhere.example/evidence/INC-1", None),
        ("https://elsewhere.example/?x=https://evidence1.blob.core.windows.net/e", None),
        ("http://evidence1.blob.core.windows.net/evidence/INC-1", None),
        ("file:///evidence", None),
    ],
)
def test_a_package_uri_leads_to_its_cloud(uri: str, cloud: Cloud | None) -> None:
    assert evidence._cloud_of(uri) is cloud


def test_the_key_to_print_is_asked_for_where_the_clouds_sign_differently() -> None:
    own = EvidenceSettings(signing_key="azurekms:x")
    settings = Settings(
        evidence=EvidenceSettings(store="s3://evidence"), evidence_by_cloud={Cloud.AZURE: own}
    )
    with pytest.raises(UsageError, match="different keys"):
        evidence._signing_cloud(settings, Mode.LIVE)
    assert evidence._signing_cloud(Settings(), Mode.LIVE) in Cloud
