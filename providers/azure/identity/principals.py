"""Read the workload's principals: what they are, whether they may be touched, and who else runs as them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError
from firebreak.measure import Permission, on_any, on_target
from firebreak.model import JsonObject, Target, Workload
from providers.azure import cosmosroles
from providers.azure.answers import translated
from providers.azure.existence import absent, existing
from providers.azure.identity import federation
from providers.azure.permissions import own_principals
from providers.azure.resources import declared
from providers.azure.resources.identities import ManagedIdentity, ServicePrincipal
from providers.azure.session import AzureAccess, AzureMeasure

Identity = ManagedIdentity | ServicePrincipal
MANAGED, SERVICE = "managed-identity", "service-principal"

IDENTITY_VERSION = "2024-11-30"
"""api-version of ``Microsoft.ManagedIdentity``."""
RESOURCES_VERSION = "2021-04-01"
"""api-version of ``Microsoft.Resources``."""

READ_MANAGED = (
    *on_target(
        "Microsoft.ManagedIdentity/userAssignedIdentities/read",
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/read",
    ),
    *on_any("Microsoft.Resources/subscriptions/resources/read"),
)
READ_SERVICE = on_any("graph:Application.Read.All")
LEAVE_GROUPS = on_any("graph:GroupMember.ReadWrite.All")
GROUPS = (*on_any("graph:Application.Read.All", "graph:GroupMember.Read.All"), *LEAVE_GROUPS)
READ_SECRET = on_any("data:Microsoft.KeyVault/vaults/secrets/getSecret/action")
DATA_RIGHTS = on_any(*cosmosroles.ASSIGN_ROLES)
RUN_COMMAND = on_any(
    "Microsoft.Compute/virtualMachines/read", "Microsoft.Compute/virtualMachines/runCommand/action"
)


@dataclass(frozen=True)
class Principal:
    """A principal of the workload as the cloud knows it."""

    object_id: str
    client_id: str
    tenant_id: str
    name: str
    type: str
    """Microsoft Graph's ``servicePrincipalType``, empty for what was read from ARM."""


def targets(workload: Workload, *kinds: type[Identity]) -> list[Target]:
    """List the declared identities of these classes."""
    chosen = [each for kind in kinds for each in of_kind(workload.identities, kind)]
    return targets_of(workload, chosen)


def identity(workload: Workload, target: Target) -> Identity:
    """Find the declaration behind a target; raises PermanentCloudError when there is none."""
    found = _declared(workload, target)
    if found is None:
        raise PermanentCloudError("the inventory does not declare this identity", resource=target.ref)
    return found


def _declared(workload: Workload, target: Target) -> Identity | None:
    kind: type[Identity] = ManagedIdentity if target.kind == MANAGED else ServicePrincipal
    return declared(workload, kind, target.ref)


def read(access: AzureAccess, target: Target) -> Principal:
    """Read the principal; raises PermanentCloudError where it is not exactly the declared one."""
    wanted = identity(access.run.workload, target)
    found = _managed(access, wanted) if isinstance(wanted, ManagedIdentity) else _service(access, wanted)
    object_id = wanted.principal_id if isinstance(wanted, ManagedIdentity) else wanted.ref
    for what, told, actual in (
        ("object id", object_id, found.object_id),
        ("client id", wanted.client_id, found.client_id),
    ):
        if told.lower() != actual.lower():
            raise PermanentCloudError(
                f"the inventory says {what} {told}, Azure says {actual}",
                resource=target.ref,
                remedy="correct the inventory",
            )
    return found


def _managed(access: AzureAccess, wanted: ManagedIdentity) -> Principal:
    found = existing(access, wanted.ref, IDENTITY_VERSION, "the managed identity")
    properties = found["properties"]
    return Principal(
        properties["principalId"], properties["clientId"], properties["tenantId"], found["name"], ""
    )


def _service(access: AzureAccess, wanted: ServicePrincipal) -> Principal:
    found = directory_object(access, wanted.ref)
    return Principal(
        found["id"],
        found["appId"],
        wanted.tenant_id,
        found.get("displayName", ""),
        found.get("servicePrincipalType", ""),
    )


def directory_object(access: AzureAccess, object_id: str) -> JsonObject:
    """Read a service principal from Microsoft Graph; raises PermanentCloudError when there is none."""
    with translated(object_id):
        found = access.graph().get(f"/servicePrincipals/{object_id}")
    if found is None:
        raise absent(object_id, "the service principal")
    return found


def require_identity_spared(access: AzureAccess, target: Target) -> None:
    """Refuse Firebreak's own and the protected principals, under whichever id they were declared.

    The guard compares references as they are written; ARM ids may be written in any casing, and one principal
    has several ids.
    """
    wanted = identity(access.run.workload, target)
    ids = {wanted.ref.lower(), wanted.client_id.lower()}
    if isinstance(wanted, ManagedIdentity):
        ids.add(wanted.principal_id.lower())
    require_spared(access, target.ref, ids)


def require_spared(access: AzureAccess, ref: str, ids: set[str]) -> None:
    """Refuse what bears the id of one of Firebreak's own or of a protected principal."""
    spared = {
        "Firebreak's own": own_principals(access),
        "a protected": access.settings.guard.protected_principals,
    }
    for whose, principals in spared.items():
        if {each.lower() for each in ids} & {each.lower() for each in principals}:
            raise PermanentCloudError(
                f"this is {whose} principal, which is never contained",
                resource=ref,
                remedy="take it out of the workload's identities",
            )


def other_users(access: AzureAccess, target: Target) -> tuple[str, ...]:
    """Name who else runs as the identity: declared and seen, except the workload itself.

    Raises AbsentError where the identity is not there, which leaves nobody to ask for.
    """
    workload, wanted = access.run.workload, identity(access.run.workload, target)
    read(access, target)
    mine = {each.ref.lower() for each in workload.resources()} | {each.lower() for each in wanted.used_by}
    seen = [*wanted.shared_with, *_carriers(access, wanted), *_subjects(access, wanted)]
    return tuple(dict.fromkeys(each for each in seen if each.lower() not in mine))


def _carriers(access: AzureAccess, wanted: Identity) -> Iterator[str]:
    """The resources of the subscription that carry a user-assigned identity."""
    if not isinstance(wanted, ManagedIdentity):
        return
    with translated(wanted.ref):
        for each in access.arm().pages(f"{access.scope}/resources", RESOURCES_VERSION):
            carried = (each.get("identity") or {}).get("userAssignedIdentities") or {}
            if wanted.ref.lower() in {identity_id.lower() for identity_id in carried}:
                yield str(each["id"])


def _subjects(access: AzureAccess, wanted: Identity) -> Iterator[str]:
    """The subjects outside Azure that may exchange their tokens for the identity's."""
    store = federation.store_of(access, wanted)
    for name, properties in (store.read() if store else {}).items():
        if name != federation.PROBE_CREDENTIAL:
            yield str(properties.get("subject") or name)


def _secret_places(wanted: Identity, workload: Workload) -> tuple[str, ...]:
    """The secret itself, or the subscription where only its address is declared."""
    if not isinstance(wanted, ServicePrincipal) or not wanted.credential_secret:
        return ()
    return (wanted.secret_scope or f"/subscriptions/{workload.account}",)


class IdentityMeasure(AzureMeasure):
    """The parent of the measures on principals: targets, guard, blast radius and permissions by kind."""

    kinds: ClassVar[tuple[type[Identity], ...]] = (ManagedIdentity, ServicePrincipal)
    for_managed: ClassVar[tuple[Permission, ...]] = ()
    for_service: ClassVar[tuple[Permission, ...]] = ()

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared identities."""
        return targets(workload, *cls.kinds)

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:
        """The permissions for a managed identity, or for a service principal."""
        return cls.for_managed if target.kind == MANAGED else cls.for_service

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:
        """Nothing for a permission that the declared identity has no use for."""
        if target.kind not in {MANAGED, SERVICE}:
            return super().places(action, target, workload)
        wanted = _declared(workload, target)
        if wanted is None:
            return ()
        only_where = {
            READ_SECRET: _secret_places(wanted, workload),
            RUN_COMMAND: (wanted.probe_vm,) if wanted.probe_vm else (),
            DATA_RIGHTS: cosmosroles.accounts(workload),
            LEAVE_GROUPS: (f"/subscriptions/{workload.account}",) if wanted.leave_groups else (),
        }
        chosen = (places for asked, places in only_where.items() if action in {each.action for each in asked})
        return next(chosen, super().places(action, target, workload))

    def discover(self, target: Target) -> list[Target]:
        """The identity itself; refuses Firebreak's own and the protected principals."""
        require_identity_spared(self.access, target)
        return [target]

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """Everyone else who runs as the identity."""
        return other_users(self.access, target)
