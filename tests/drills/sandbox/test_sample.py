"""Samples of several clouds become one inventory and one environment."""

from __future__ import annotations

import stat
from pathlib import Path

import yaml
from click.testing import CliRunner

from drills.sandbox.sample import main, read_environment, write_environment, write_inventory


def folder(path: Path, workload: str, **variables: str) -> Path:
    path.mkdir()
    write_inventory(path / "workloads.yaml", [{"id": workload}])
    accounts = {"FIREBREAK_GUARD__SANDBOX_ACCOUNTS": f'["{workload}"]', "FIREBREAK_INVENTORY": "own"}
    write_environment(path / "env", {**accounts, **variables})
    return path


def test_folders_are_joined(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", "a", AWS_REGION="eu central", SHARED="one")
    two = folder(tmp_path / "two", "b", AZURE_TENANT_ID="t")
    into = tmp_path / "both"
    done = CliRunner().invoke(main, ["--into", str(into), str(one), str(two)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document = yaml.safe_load((into / "workloads.yaml").read_text())
    assert document == {"version": 1, "workloads": [{"id": "a"}, {"id": "b"}]}
    assert stat.S_IMODE((into / "env").stat().st_mode) == 0o600
    assert read_environment(into / "env") == {
        "FIREBREAK_GUARD__SANDBOX_ACCOUNTS": '["a", "b"]',
        "FIREBREAK_INVENTORY": str(into / "workloads.yaml"),
        "AWS_REGION": "eu central",
        "SHARED": "one",
        "AZURE_TENANT_ID": "t",
    }


def test_what_occurs_twice_is_written_twice(tmp_path: Path) -> None:
    shared = {"kind": "canary"}
    write_inventory(tmp_path / "workloads.yaml", [{"id": "a", "network": [shared]}, {"network": [shared]}])
    assert "&" not in (tmp_path / "workloads.yaml").read_text()


def test_what_the_shell_forgets_is_no_variable(tmp_path: Path) -> None:
    written = {"AWS_REGION": "eu central", "TOKEN": "a=b", "EMPTY": ""}
    write_environment(tmp_path / "env", written, without=["AWS_PROFILE"])
    assert read_environment(tmp_path / "env") == written
