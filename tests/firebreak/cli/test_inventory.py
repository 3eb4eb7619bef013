from __future__ import annotations

from pathlib import Path

from tests.firebreak.cli.conftest import Cli
from tests.firebreak.test_inventory import WHOLE


def test_a_good_file_is_described(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "workloads.yaml").write_text(WHOLE)
    validated, listed = cli("inventory", "validate", "--json"), cli("inventory", "list", "--json")
    assert validated.code == listed.code == 0
    assert validated.json["workloads"] == ["support-agent"]
    assert listed.json["digest"] == validated.json["digest"]
    assert listed.json["workloads"][0]["stores"][0]["kind"] == "dynamodb-table"
    assert cli("inventory", "list").stdout.splitlines()[1].split()[:2] == ["support-agent", "aws"]


def test_a_bad_file_exits_2_and_names_the_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(WHOLE.replace("kind: sqs-queue", "kind: tin-can"))
    result = cli("inventory", "validate", "other.yaml", "--json")
    assert result.code == 2
    assert "other.yaml:16: workloads[0].channels[0].kind: 'tin-can'" in result.json["error"]["message"]


def test_the_setting_names_the_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "else.yaml").write_text(WHOLE)
    assert cli("inventory", "list", environment={"FIREBREAK_INVENTORY": "else.yaml"}).code == 0
    assert cli("inventory", "list", environment={"FIREBREAK_INVENTORY": "none.yaml"}).code == 2


def test_the_schema_is_json(cli: Cli) -> None:
    assert cli("inventory", "schema").json["title"] == "Firebreak inventory"


def test_an_unknown_workload_is_refused_before_anything_is_contacted(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "workloads.yaml").write_text(WHOLE)
    result = cli("contain", "suport-agent", "--reason", "x", "--json")
    assert result.code == 2
    assert "did you mean support-agent" in result.json["error"]["remedy"]


def test_without_a_server_the_address_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "workloads.yaml").write_text(WHOLE)
    nowhere = {"TEMPORAL_ADDRESS": "127.0.0.1:1"}
    result = cli("contain", "support-agent", "--reason", "x", "--json", environment=nowhere)
    assert result.code == 1
    assert "127.0.0.1:1" in result.json["error"]["message"]


def test_a_malformed_setting_is_named(cli: Cli) -> None:
    wrong = {"FIREBREAK_PROOF__CONSECUTIVE": "many"}
    result = cli("status", "--json", environment=wrong)
    assert result.code == 2
    assert "FIREBREAK_PROOF__CONSECUTIVE" in result.json["error"]["message"]


AZURE = ("inventory", "discover", "--cloud", "azure", "--region", "westeurope")


def test_discovery_is_told_how_to_reach_any_cloud(cli: Cli) -> None:
    place = ("--account", "11111111-1111-4111-8111-111111111111")
    refused = cli(*AZURE, *place, "--access", "client_id=nobody", "--json")
    assert refused.code == 2
    assert "access.client_id 'nobody' is not a GUID" in refused.json["error"]["message"]
    assert "not KEY=VALUE" in cli(*AZURE, *place, "--access", "client_id", "--json").json["error"]["message"]


def test_an_account_of_another_cloud_is_refused(cli: Cli) -> None:
    refused = cli(*AZURE, "--account", "123456789012", "--json")
    assert refused.code == 2
    assert "is not the id (a GUID) of an Azure subscription" in refused.json["error"]["message"]
