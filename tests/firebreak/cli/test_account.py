"""Commands that look into the accounts themselves, against the seeded sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from drills.sandbox.aws.client import SandboxClient, start_sandbox
from drills.sandbox.aws.sample import EVIDENCE_ACCOUNT, Sample, seed
from drills.sandbox.aws.sample.accounts import RESPONDER_ROLE
from drills.sandbox.aws.sample.clients import Admin
from drills.sandbox.aws.sample.policies import replace_policies
from firebreak import inventory
from firebreak.cli.proposal import as_yaml
from firebreak.doctor import Check, Outcome, examine
from firebreak.evidence.sign import generate_key, load_public_keys
from firebreak.model import Cloud, Mode
from firebreak.provider import Proposal, provider
from firebreak.settings import load_settings
from tests.firebreak.cli.conftest import Cli

NOT_TAGGABLE = {"s3-object", "detective", "security-hub-finding"}
"""What the sample declares and no tag tells: files, and what belongs to the account."""


@dataclass(frozen=True)
class Seeded:
    sandbox: SandboxClient
    sample: Sample

    def discover(self, *more: str) -> tuple[str, ...]:
        place = ("--account", self.sample.workload_account, "--region", self.sample.region)
        access = ("--role-arn", self.sample.responder_role_arn)
        secret = ("--external-id", self.sample.responder_external_id)
        return ("inventory", "discover", "--cloud", "aws", *place, *access, *secret, *more)

    def evidence_bucket(self, name: str, **lock: Any) -> None:
        Admin.of(self.sandbox, EVIDENCE_ACCOUNT, self.sample.region).client("s3").create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": self.sample.region}, **lock
        )


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    with start_sandbox() as client:
        yield Seeded(client, seed(client, tmp_path_factory.mktemp("sample") / "workloads.yaml"))


@pytest.fixture(autouse=True)
def environment(seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in seeded.sample.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")


def test_the_sample_is_discovered_as_an_inventory_that_loads(
    seeded: Seeded, cli: Cli, tmp_path: Path
) -> None:
    since = seeded.sandbox.calls().next
    result = cli(*seeded.discover())
    assert result.code == 0
    assert seeded.sandbox.calls(since, mutating=True).calls == []
    (tmp_path / "proposed.yaml").write_text(result.stdout)
    validated = cli("inventory", "validate", "proposed.yaml", "--json")
    assert (validated.code, validated.json["workloads"]) == (0, list(seeded.sample.workload_ids))
    (workload_id,) = seeded.sample.workload_ids
    proposed = inventory.load(tmp_path / "proposed.yaml").workload(workload_id)
    declared = inventory.load(seeded.sample.inventory_path).workload(workload_id)
    expected = {(part.kind, part.ref) for part in declared.resources() if part.kind not in NOT_TAGGABLE}
    assert expected <= {(part.kind, part.ref) for part in proposed.resources()}
    assert (proposed.access, proposed.account) == (declared.access, declared.account)
    assert "declare probes for" in result.stdout


def test_the_json_holds_the_inventory_and_what_is_missing(seeded: Seeded, cli: Cli, tmp_path: Path) -> None:
    found = cli(*seeded.discover("--json")).json
    (tmp_path / "proposed.yaml").write_text(json.dumps(found["inventory"]))
    assert cli("inventory", "validate", "proposed.yaml").code == 0
    assert list(found["notes"]) == list(seeded.sample.workload_ids)


def test_nothing_tagged_is_an_empty_inventory(seeded: Seeded, cli: Cli, tmp_path: Path) -> None:
    for tag in ("--tag=ai-workload=nobody", "--tag=unused"):
        result = cli(*seeded.discover(tag))
        assert result.code == 0
        assert "nothing is tagged" in result.stderr
        (tmp_path / "proposed.yaml").write_text(result.stdout)
        assert cli("inventory", "validate", "proposed.yaml", "--json").json["workloads"] == []


def test_a_tag_without_a_key_is_invalid(seeded: Seeded, cli: Cli) -> None:
    assert cli(*seeded.discover("--tag==x")).code == 2


def test_the_printed_permissions_are_all_that_discovery_needs(seeded: Seeded, cli: Cli) -> None:
    printed = cli("permissions", "--cloud", "aws", "--role", "discovery", "--inventory", "none.yaml")
    assert printed.code == 0
    admin = Admin.of(seeded.sandbox, seeded.sample.workload_account, seeded.sample.region)
    replace_policies(admin, RESPONDER_ROLE, printed.json["policies"])
    try:
        since = seeded.sandbox.calls().next
        result = cli(*seeded.discover())
        assert (result.code, "INCOMPLETE" in result.stdout) == (0, False)
        assert [call for call in seeded.sandbox.calls(since).calls if call["error_code"]] == []
    finally:
        everything = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        }
        replace_policies(admin, RESPONDER_ROLE, [everything])


def test_what_could_not_be_read_is_said_beside_the_inventory(seeded: Seeded, cli: Cli) -> None:
    seeded.sandbox.inject("denied", service="codepipeline")
    result = cli(*seeded.discover())
    seeded.sandbox.clear_faults()
    assert result.code == 0
    assert "INCOMPLETE" in result.stderr
    assert yaml.safe_load(result.stdout)["workloads"][0].get("pipelines") is None


@pytest.mark.parametrize(("option", "mode"), [((), Mode.LIVE), (("--drill",), Mode.DRILL)])
def test_the_printed_key_verifies_what_the_kms_key_signs(
    cli: Cli, tmp_path: Path, option: tuple[str, ...], mode: Mode
) -> None:
    printed = cli("evidence", "key", *option, "--cloud", "aws")
    assert printed.code == 0
    (tmp_path / "key.pub").write_text(printed.stdout)
    (trusted,) = load_public_keys([tmp_path / "key.pub"], mode)
    signature = provider(Cloud.AWS).signer(load_settings(), mode).sign(b"evidence")
    trusted.key.verify_signature(signature, b"evidence")
    document = cli("evidence", "key", *option, "--json").json
    assert (document["key_id"], document["mode"]) == (trusted.key.keyid, mode)
    assert document["public_key"] == printed.stdout


def test_live_and_drill_have_different_keys(cli: Cli) -> None:
    assert cli("evidence", "key").stdout != cli("evidence", "key", "--drill").stdout


def test_the_public_part_of_a_file_key_is_printed(cli: Cli, tmp_path: Path) -> None:
    generate_key(tmp_path / "signing.pem")
    chosen = {"FIREBREAK_EVIDENCE__SIGNING_KEY": f"file:{tmp_path / 'signing.pem'}"}
    printed = cli("evidence", "key", environment=chosen)
    assert printed.stdout == (tmp_path / "signing.pem.pub").read_text()
    assert "PRIVATE" not in printed.stdout


def test_a_missing_key_is_named_by_its_setting(cli: Cli) -> None:
    result = cli("evidence", "key", "--json", environment={"FIREBREAK_EVIDENCE__SIGNING_KEY": ""})
    assert result.code == 2
    assert "FIREBREAK_EVIDENCE__SIGNING_KEY" in result.json["error"]["message"]


async def evidence_store() -> Check:
    made = await examine(Cloud.AWS)
    return next(check for check in made.checks if check.name == "evidence store")


async def test_an_empty_store_is_ok_because_its_bucket_was_looked_at(seeded: Seeded) -> None:
    since = seeded.sandbox.calls().next
    check = await evidence_store()
    assert (check.outcome, "is empty" in check.detail) == (Outcome.OK, True)
    calls = seeded.sandbox.calls(since).calls
    assert {"GetBucketVersioning", "GetObjectLockConfiguration"} <= {call["operation"] for call in calls}
    assert [call["operation"] for call in calls if call["mutating"]] == []


@pytest.fixture
def bucket(seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes another evidence bucket the configured one."""

    def make(name: str, **lock: Any) -> Any:
        seeded.evidence_bucket(name, **lock)
        monkeypatch.setenv("FIREBREAK_EVIDENCE__STORE", f"s3://{name}/incidents")
        return Admin.of(seeded.sandbox, EVIDENCE_ACCOUNT, seeded.sample.region).client("s3")

    return make


async def test_an_empty_store_without_lock_fails(bucket: Callable[..., Any]) -> None:
    bucket("plain-evidence")
    check = await evidence_store()
    assert check.outcome is Outcome.FAILED
    assert "versioning is not enabled; Object Lock is not enabled" in check.detail
    assert check.remedy


@pytest.mark.parametrize("period", [{"Days": 30}, {"Years": 2}])
async def test_a_default_retention_is_reported(bucket: Callable[..., Any], period: dict[str, int]) -> None:
    (unit,) = period
    s3 = bucket(f"default-{unit.lower()}", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", **period}}
    s3.put_object_lock_configuration(
        Bucket=f"default-{unit.lower()}",
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
    )
    check = await evidence_store()
    assert check.outcome is Outcome.FAILED
    assert f"default retention of {period[unit]} {unit.lower()}" in check.detail


async def test_a_store_that_is_not_there_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREBREAK_EVIDENCE__STORE", "s3://no-such-bucket-here/incidents")
    check = await evidence_store()
    assert (check.outcome, "NoSuchBucket" in check.detail) == (Outcome.FAILED, True)


def test_a_name_from_the_cloud_cannot_end_its_comment() -> None:
    hostile = "q\nversion: 2\r\u2028workloads: [x]\x85y: z"
    text = as_yaml(Proposal(workloads=(), notes={}, left_out=(hostile,)))
    assert yaml.safe_load(text) == {"version": 1, "workloads": []}
