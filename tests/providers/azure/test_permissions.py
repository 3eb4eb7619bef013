"""What is printed suffices, one permission less is named, and nothing is changed by looking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from firebreak.measure import Measure, Permission, Scope, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, State, Target, Workload
from firebreak.provider import Need
from providers.azure.permissions import documents, grants, missing, own_principals, scope_of
from providers.azure.session import AzureMeasure
from tests.providers.azure.conftest import WORKLOAD, World

GROUP = f"/subscriptions/{WORKLOAD}/resourceGroups/rg"
NIC = f"{GROUP}/providers/Microsoft.Network/networkInterfaces/nic1"
CONTAINER = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/a1/blobServices/default/containers/models"


class Imaginary(AzureMeasure):
    """Needs what the test says, of whatever it is pointed at; never registered, never run."""

    permissions: ClassVar[tuple[Permission, ...]] = (
        *on_target(
            "Microsoft.Network/networkInterfaces/write",
            "Microsoft.Network/networkSecurityGroups/write",
            "Microsoft.Authorization/locks/write",
        ),
        *on_any("Microsoft.Authorization/roleAssignments/read", "graph:Application.ReadWrite.All"),
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:  # noqa: ARG003 - it has none
        return []

    def snapshot(self, target: Target) -> JsonObject:
        raise NotImplementedError

    def apply(self, target: Target, state: State) -> Change:
        raise NotImplementedError

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        raise NotImplementedError

    def revert(self, change: Change) -> Finding:
        raise NotImplementedError


class OnBlobs(Imaginary):
    """Needs data actions of a container."""

    permissions = (
        *on_target(
            "Microsoft.Storage/storageAccounts/read",
            "data:Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
        ),
    )


def target(ref: str = NIC) -> Target:
    return Target(kind="x", ref=ref, account=WORKLOAD, region="westeurope")


def needs(measure: type[Measure[Any]] = Imaginary, ref: str = NIC) -> list[Need]:
    return [(measure, target(ref))]


@pytest.mark.parametrize(
    ("action", "resource", "scope"),
    [
        ("Microsoft.Network/networkInterfaces/write", NIC, NIC),
        ("Microsoft.Network/networkSecurityGroups/write", NIC, GROUP),
        ("Microsoft.Authorization/locks/write", NIC, NIC),
        ("Microsoft.Storage/storageAccounts/read", CONTAINER, CONTAINER.partition("/blobServices")[0]),
        (
            "Microsoft.Storage/storageAccounts/listKeys/action",
            CONTAINER,
            CONTAINER.partition("/blobServices")[0],
        ),
        (
            "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
            CONTAINER,
            CONTAINER,
        ),
        (
            "Microsoft.Resources/subscriptions/read",
            f"/subscriptions/{WORKLOAD}",
            f"/subscriptions/{WORKLOAD}",
        ),
    ],
)
def test_an_action_is_asked_where_azure_checks_it(action: str, resource: str, scope: str) -> None:
    assert scope_of(action, resource) == scope


def test_grants_name_every_permission_with_its_scopes(world: World) -> None:
    found = grants(needs(), [world.workload()])
    assert found == {
        "Microsoft.Network/networkInterfaces/write": {NIC},
        "Microsoft.Network/networkSecurityGroups/write": {GROUP},
        "Microsoft.Authorization/locks/write": {NIC},
        "Microsoft.Authorization/roleAssignments/read": {f"/subscriptions/{WORKLOAD}"},
        "graph:Application.ReadWrite.All": {"Microsoft Graph"},
    }


def made(world: World, fresh: Callable[[str], str]) -> str:
    """A real interface's id: a scope that exists."""
    group = world.group(fresh("rg"))
    nic = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id1"
    world.admin().put(nic, {"location": "westeurope"}, "2024-11-30")
    return nic


class OnIdentity(Imaginary):
    """Needs rights on a managed identity."""

    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("Microsoft.ManagedIdentity/userAssignedIdentities/read", Scope.TARGET),
        Permission("Microsoft.ManagedIdentity/userAssignedIdentities/write", Scope.TARGET),
        Permission("Microsoft.Authorization/roleAssignments/delete", Scope.ANY),
        Permission("graph:Application.ReadWrite.All", Scope.ANY),
        Permission("graph:Directory.Read.All", Scope.ANY),
    )


def test_the_printed_roles_suffice_and_reading_changes_nothing(
    world: World, fresh: Callable[[str], str]
) -> None:
    wanted = needs(OnIdentity, made(world, fresh))
    workload = world.workload()
    document = documents(wanted, [workload], world.settings)["responder"]
    access = world.access(world.holding(workload, document))
    since = world.sandbox.calls().next
    assert missing(access, wanted) == ()
    assert world.sandbox.calls(since, mutating=True).calls == []


@pytest.mark.parametrize("left_out", [each.action for each in OnIdentity.permissions])
def test_one_permission_less_is_named(world: World, fresh: Callable[[str], str], left_out: str) -> None:
    place = made(world, fresh)
    wanted, workload = needs(OnIdentity, place), world.workload()
    document = documents(wanted, [workload], world.settings)["responder"]
    lacking = missing(world.access(world.holding(workload, document, without=left_out)), wanted)
    assert len(lacking) == 1
    assert lacking[0].startswith(f"{left_out} on ")


def test_a_responder_without_anything_lacks_everything(world: World, fresh: Callable[[str], str]) -> None:
    bare = world.principal(fresh("bare"))
    world.grant(bare, "Storage Blob Data Reader", f"/subscriptions/{WORKLOAD}")
    access = {**world.workload().access, "client_id": bare.client_id}
    reader = {
        "roles": [
            {
                "definition": {
                    "Name": "sees the subscription",
                    "Actions": ["Microsoft.Resources/subscriptions/read"],
                    "NotActions": [],
                    "DataActions": [],
                    "NotDataActions": [],
                    "AssignableScopes": [f"/subscriptions/{WORKLOAD}"],
                },
                "assign_at": [f"/subscriptions/{WORKLOAD}"],
            }
        ]
    }
    world.assign(bare, reader["roles"])
    lacking = missing(world.access(world.workload(access=access)), needs(OnIdentity, made(world, fresh)))
    assert {each.partition(" on ")[0] for each in lacking} >= {
        "Microsoft.Authorization/permissions/read",
        *(each.action for each in OnIdentity.permissions),
    }


def test_data_actions_are_kept_apart_from_actions(world: World) -> None:
    document = documents(needs(OnBlobs, CONTAINER), [world.workload()], world.settings)["responder"]
    blobs = next(each for each in document["roles"] if each["assign_at"] == [CONTAINER])
    assert blobs["definition"]["Actions"] == []
    assert blobs["definition"]["DataActions"] == [
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
    ]
    assert blobs["definition"]["AssignableScopes"] == [f"/subscriptions/{WORKLOAD}"]


def test_graph_permissions_are_listed_by_themselves(world: World) -> None:
    document = documents(needs(), [world.workload()], world.settings)["responder"]
    assert document["graph"] == ["Application.ReadWrite.All"]
    assert document["applications"] == [world.responder.client_id]
    every = [each for role in document["roles"] for each in role["definition"]["Actions"]]
    assert not any(each.startswith("graph:") for each in every)


class OnDirectory(Imaginary):
    """Reads what another measure also writes."""

    permissions = on_any(
        "graph:Application.Read.All", "graph:GroupMember.Read.All", "graph:AuditLog.Read.All"
    )


@pytest.mark.parametrize(
    ("granted", "lacking"),
    [
        (("Application.ReadWrite.All", "GroupMember.ReadWrite.All", "AuditLog.Read.All"), ()),
        (("Application.Read.All", "GroupMember.ReadWrite.All", "AuditLog.Read.All"), ()),
        (("Application.ReadWrite.All", "AuditLog.Read.All"), ("graph:GroupMember.Read.All",)),
        (
            ("Application.ReadWrite.OwnedBy", "GroupMember.Read.All", "AuditLog.Read.All"),
            ("graph:Application.Read.All",),
        ),
    ],
)
def test_who_may_write_all_of_a_kind_may_read_them(
    world: World, fresh: Callable[[str], str], granted: tuple[str, ...], lacking: tuple[str, ...]
) -> None:
    holder = world.principal(fresh("directory"), graph=granted)
    world.grant(holder, "Owner", f"/subscriptions/{WORKLOAD}")
    workload = world.workload(access={**world.workload().access, "client_id": holder.client_id})
    assert missing(world.access(workload), needs(OnDirectory)) == tuple(
        f"{each} on Microsoft Graph" for each in lacking
    )


def test_the_right_to_write_does_not_follow_from_the_right_to_read(
    world: World, fresh: Callable[[str], str]
) -> None:
    holder = world.principal(fresh("reader"), graph=["Application.Read.All", "Directory.Read.All"])
    world.grant(holder, "Owner", f"/subscriptions/{WORKLOAD}")
    workload = world.workload(access={**world.workload().access, "client_id": holder.client_id})
    lacking = missing(
        world.access(workload), needs(OnIdentity, f"/subscriptions/{WORKLOAD}/resourceGroups/rg")
    )
    assert "graph:Application.ReadWrite.All on Microsoft Graph" in lacking


def test_the_right_to_read_is_not_printed_beside_the_right_to_write(world: World) -> None:
    document = documents([*needs(OnDirectory), *needs()], [world.workload()], world.settings)["responder"]
    assert document["graph"] == ["Application.ReadWrite.All", "AuditLog.Read.All", "GroupMember.Read.All"]


def test_scopes_with_equal_needs_share_a_role(world: World) -> None:
    wanted = [*needs(OnBlobs, CONTAINER), *needs(OnBlobs, f"{CONTAINER}2")]
    document = documents(wanted, [world.workload()], world.settings)["responder"]
    assert [CONTAINER, f"{CONTAINER}2"] in [each["assign_at"] for each in document["roles"]]


def test_a_scope_within_another_is_left_out(world: World) -> None:
    account = CONTAINER.partition("/blobServices")[0]
    found = grants([*needs(OnBlobs, CONTAINER), *needs(OnBlobs, account.upper())], [world.workload()])
    blobs = found["data:Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"]
    assert {each.lower() for each in blobs} == {account.lower()}


def test_the_evidence_role_is_at_the_container_and_the_keys(world: World) -> None:
    document = documents([], [], world.settings)["evidence"]
    access = world.settings.evidence_of(Cloud.AZURE).access
    scopes = {scope for role in document["roles"] for scope in role["assign_at"]}
    assert scopes == {
        access["account_id"],
        f"{access['account_id']}/blobServices/default/containers/evidence",
        f"{access['vault_id']}/keys/signing",
        f"{access['vault_id']}/keys/drills",
        f"{access['vault_id']}/keys/sealing",
    }
    every = str(document)
    assert "runAsSuperUser" not in every
    assert "*" not in every


def test_own_principals_are_named_by_every_id(world: World) -> None:
    own = own_principals(world.access())
    for each in (world.responder, world.keeper):
        assert {each.object_id, each.client_id} <= set(own)
