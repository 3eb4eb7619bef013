"""The sample: an inventory that validates, principals that can do what they must, and nothing more."""

from __future__ import annotations

import json
import stat
import time
from typing import TYPE_CHECKING

import pytest

from drills.sandbox.azure.client import SandboxError, start_sandbox
from drills.sandbox.azure.sample import (
    WORKLOAD_ACCOUNT,
    SampleError,
    attach_responder_roles,
    seed,
    variants,
)
from drills.sandbox.azure.sample.agent import WORKLOAD_ID
from firebreak.inventory import load
from firebreak.model import Cloud
from firebreak.provider import provider
from firebreak.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from drills.sandbox.azure.client import AzureSandbox
    from drills.sandbox.azure.sample import Sample

ARM, BLOB = "https://management.azure.com", "https://storage.azure.com"


@pytest.fixture(scope="module")
def empty() -> Iterator[AzureSandbox]:
    with start_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def seeded(empty: AzureSandbox, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    empty.reset()
    return seed(empty, tmp_path_factory.mktemp("sample") / "workloads.yaml")


@pytest.fixture(autouse=True)
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "seeded" in request.fixturenames:
        for name, value in request.getfixturevalue("seeded").environment().items():
            monkeypatch.setenv(name, value)


def test_inventory_validates_and_covers_every_kind(seeded: Sample) -> None:
    workload = load(seeded.inventory_path).workload(WORKLOAD_ID)
    assert seeded.workload_ids == (WORKLOAD_ID,)
    every = {kind for group in provider(Cloud.AZURE).kinds.values() for kind in group}
    assert {part.kind for part in workload.resources()} == every - {"network-interface"}


def test_environment_is_what_settings_need(seeded: Sample) -> None:
    settings = Settings()
    evidence = settings.evidence_of(Cloud.AZURE)
    assert evidence.store == seeded.evidence_store
    assert evidence.access["client_id"] == seeded.keeper.client_id
    assert settings.guard.sandbox_accounts == (WORKLOAD_ACCOUNT,)
    assert "AZURE_CLIENT_SECRET" not in seeded.environment()


@pytest.mark.usefixtures("seeded")
def test_the_store_is_set_up_as_evidence_needs_it() -> None:
    assert provider(Cloud.AZURE).check_store(Settings()) == ()


def test_the_agent_reaches_its_roles_on_every_way(seeded: Sample) -> None:
    identity = load(seeded.inventory_path).workload(WORKLOAD_ID).identities[0].model_dump()
    for probe in identity["probes"]:
        audience = ARM if probe["url"].startswith(ARM) else BLOB
        token = seeded.sandbox.mint(identity["principal_id"], audience)
        headers = {"x-ms-version": "2021-12-02"}
        assert seeded.sandbox.send("GET", probe["url"], token=token, headers=headers).status == 200
    token = seeded.sandbox.mint(identity["principal_id"], ARM)
    other = f"/subscriptions/{seeded.evidence_account}"
    with pytest.raises(SandboxError, match="AuthorizationFailed"):
        seeded.sandbox.arm("GET", other, "2022-12-01", token=token)


def test_credentials_are_private_to_their_owner(seeded: Sample) -> None:
    assert seeded.rogue_config_path
    for path in (seeded.rogue_config_path, seeded.token_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(seeded.rogue_config_path.read_text()) == seeded.rogue_config
    assert seeded.responder.client_secret not in repr(seeded)


def test_attached_roles_are_the_only_ones(seeded: Sample) -> None:
    scope = f"/subscriptions/{WORKLOAD_ACCOUNT}"
    definition = {
        "Name": "test",
        "Actions": ["Microsoft.Resources/subscriptions/read"],
        "NotActions": [],
        "DataActions": [],
        "NotDataActions": [],
        "AssignableScopes": [scope],
    }
    document = {"roles": [{"definition": definition, "assign_at": [scope]}], "graph": ["Group.Read.All"]}
    token = seeded.sandbox.mint(seeded.responder.object_id, ARM)
    for _ in range(2):
        attach_responder_roles(seeded.sandbox, document, seeded)
        assert seeded.sandbox.arm("GET", scope, "2022-12-01", token=token)["subscriptionId"]
        with pytest.raises(SandboxError, match="AuthorizationFailed"):
            seeded.sandbox.arm("GET", f"{scope}/resourceGroups", "2021-04-01", token=token)


def test_seeding_is_quick(empty: AzureSandbox, tmp_path: Path) -> None:
    empty.reset()
    started = time.process_time(), empty.calls().next
    seed(empty, tmp_path / "workloads.yaml")
    # Wall-clock time is a neighbour's affair; what seeding itself costs is processor time and calls.
    assert time.process_time() - started[0] < 10
    assert empty.calls().next - started[1] < 250


def test_lean_workloads_validate(empty: AzureSandbox, tmp_path: Path) -> None:
    empty.reset()
    sample = seed(empty, tmp_path / "workloads.yaml", copies=3)
    inventory = load(sample.inventory_path)
    assert sample.workload_ids == tuple(inventory.workloads)
    assert len(sample.workload_ids) == 3
    assert sample.rogue_config is None


def test_variants_validate_and_are_what_they_say(empty: AzureSandbox, tmp_path: Path) -> None:
    empty.reset()
    sample = seed(empty, tmp_path / "workloads.yaml", lean=True, variants=True)
    inventory = load(sample.inventory_path)
    system = inventory.workload(variants.SYSTEM).identities[0].model_dump()
    assert system["application_object_id"] == system["credential_secret"] == ""
    shared = {inventory.workload(name).identities[0].ref for name in variants.SHARED}
    assert inventory.users_of(shared.pop()) == variants.SHARED
    assert not shared
    assert inventory.workload(variants.OFFLINE).network == ()
    assert inventory.workload(variants.WORM).artifacts[0].model_dump()["version_level"] is True
    machine = inventory.workload(variants.MANY).network[0].ref
    profile = empty.arm("GET", machine, "2024-11-01")["properties"]["networkProfile"]
    nics = [empty.arm("GET", each["id"], "2025-07-01") for each in profile["networkInterfaces"]]
    assert [len(each["properties"]["ipConfigurations"]) for each in nics] == [3, 1, 1]


@pytest.mark.parametrize(("copies", "lean"), [(0, None), (4_001, None), (2, False)])
def test_impossible_seedings_are_refused(
    empty: AzureSandbox, tmp_path: Path, copies: int, lean: bool | None
) -> None:
    empty.reset()
    with pytest.raises(SampleError):
        seed(empty, tmp_path / "workloads.yaml", copies=copies, lean=lean)
    assert not (tmp_path / "workloads.yaml").exists()
