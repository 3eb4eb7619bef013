"""The seam to the core: what a workload may say of Azure, and which parts open behind it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from firebreak.errors import GuardError, UsageError
from firebreak.evidence.vault import Vault
from firebreak.model import Cloud, Mode, Workload
from firebreak.provider import Search, provider
from providers.azure.session import AzureAccess
from tests.providers.azure.conftest import EVIDENCE, REGION, TENANT, WORKLOAD, World

GROUP = f"/subscriptions/{WORKLOAD}/resourceGroups/rg"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm1"
AZURE = provider(Cloud.AZURE)


def declared(*, account: str = WORKLOAD, region: str = REGION, **fields: Any) -> Workload:
    """A workload with its resources as the kinds' own classes."""
    groups = {
        group: tuple(AZURE.kinds[group][each["kind"]].model_validate(each) for each in parts)
        for group, parts in fields.items()
        if group in AZURE.kinds
    }
    rest = {name: value for name, value in fields.items() if name not in AZURE.kinds}
    return Workload.model_validate(
        {"id": "agent", "cloud": Cloud.AZURE, "account": account, "region": region, **rest, **groups}
    )


def test_every_group_of_the_inventory_has_kinds() -> None:
    assert set(AZURE.kinds) == {
        "identities",
        "network",
        "channels",
        "artifacts",
        "stores",
        "pipelines",
        "evidence_sources",
    }
    assert all(AZURE.kinds.values())


def test_every_kind_refuses_unknown_fields_and_names_itself() -> None:
    for kinds in AZURE.kinds.values():
        for kind, model in kinds.items():
            assert model.model_config.get("extra") == "forbid"
            assert kind in str(model.model_fields["kind"].annotation)


def test_a_sound_workload_has_no_problems() -> None:
    workload = declared(
        access={"tenant_id": TENANT, "client_id": TENANT, "cloud": "public"},
        network=[{"kind": "virtual-machine", "ref": VM}],
        evidence_sources=[{"kind": "activity-log", "ref": WORKLOAD}],
    )
    assert AZURE.check(workload) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"account": "123456789012"}, "account '123456789012' is not the id (a GUID)"),
        ({"account": f"{WORKLOAD}\n"}, "is not the id (a GUID)"),
        ({"region": "West Europe"}, "region 'West Europe' is not the name"),
        ({"access": {"role_arn": "x"}}, "access.role_arn is not known to Azure"),
        ({"access": {"tenant_id": "contoso.com"}}, "access.tenant_id 'contoso.com' is not a GUID"),
        ({"access": {"client_id": "x"}}, "access.client_id 'x' is not a GUID"),
        ({"access": {"cloud": "mars"}}, "access.cloud 'mars' is none of public, usgov, china"),
    ],
)
def test_each_problem_is_named(fields: dict[str, Any], said: str) -> None:
    problems = AZURE.check(declared(**fields))
    assert any(said in each for each in problems), problems


def test_a_resource_in_another_subscription_is_named() -> None:
    other = VM.replace(WORKLOAD, EVIDENCE)
    workload = declared(
        network=[
            {"kind": "virtual-machine", "ref": other},
            {"kind": "virtual-machine", "ref": f"{other}2"},
        ],
        evidence_sources=[{"kind": "activity-log", "ref": EVIDENCE}],
    )
    assert AZURE.check(workload) == [
        (
            f"virtual-machine {other} and 2 more resources are in subscription {EVIDENCE}, "
            f"the workload in {WORKLOAD}"
        )
    ]


def test_casing_of_the_subscription_makes_no_difference() -> None:
    upper = VM.replace(WORKLOAD, WORKLOAD.upper())
    assert AZURE.check(declared(network=[{"kind": "virtual-machine", "ref": upper}])) == []


@pytest.mark.parametrize(
    "ref",
    [
        "vm1",
        f"{VM}/extensions/x",
        f"{VM}?x",
        f"{VM}\n",
        VM.replace("Microsoft.Compute", "Microsoft.Network"),
        VM.replace(WORKLOAD, "x"),
    ],
)
def test_a_reference_of_another_form_is_refused(ref: str) -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        declared(network=[{"kind": "virtual-machine", "ref": ref}])


def test_the_parts_open(world: World) -> None:
    run = world.run(world.workload())
    vault: Vault = AZURE.vault(world.settings)
    assert isinstance(AZURE.access(run, world.settings, vault), AzureAccess)
    assert AZURE.check_store(world.settings) == ()
    assert AZURE.signer(world.settings, Mode.LIVE).public_key.scheme == "ecdsa-sha2-nistp256"
    access = AZURE.access(run, world.settings, vault)
    assert world.responder.object_id in AZURE.own_principals(access)
    assert AZURE.missing_permissions(access, []) == ()
    assert set(AZURE.policies([], [world.workload()], world.settings)) == {
        "responder",
        "evidence",
        "orchestrator",
        "discovery",
    }


def test_a_drill_is_refused_by_the_session_itself(world: World) -> None:
    with pytest.raises(GuardError, match="a drill may not touch"):
        AZURE.access(world.run(world.workload(), mode=Mode.DRILL), world.settings, world.vault())


def test_discovery_refuses_another_clouds_place(world: World) -> None:
    search = Search(account="123456789012", region=REGION, tag="ai-workload")
    with pytest.raises(UsageError, match="is not the id"):
        AZURE.discover(search, world.settings)


def test_reading_an_inventory_loads_no_large_sdk() -> None:
    probe = (
        "import sys; from firebreak.provider import provider; from firebreak.model import Cloud; "
        "provider(Cloud.AZURE).kinds; "
        "large = ('azure.mgmt.network', 'azure.mgmt.compute', 'azure.storage', 'azure.identity', 'boto3'); "
        "print([each for each in large if each in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
