"""Know the tenants, their subscriptions and the management groups above them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from drills.sandbox.azure import ids
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.control import ControlError, ControlRequest, route
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.state import on_reset
from drills.sandbox.azure.table import operation

# The tenant every sandbox starts with; its first subscription is the workload's.
HOME_TENANT = "f1aeb1a0-0000-4000-8000-00000000aaaa"
HOME_SUBSCRIPTION = "f1aeb1a0-0000-4000-8000-000000000001"
_SOURCE = "Azure Resource Manager REST: Subscriptions"
_GROUPS_SOURCE = "Management Groups REST: Management Groups"
_VERSIONS = ("2022-12-01", "2021-01-01", "2020-01-01")
_GROUP_VERSIONS = ("2023-04-01", "2020-05-01", "2021-04-01")


@dataclass
class Tenant:
    """A directory; its root management group bears its id."""

    id: str
    domain: str


@dataclass
class Subscription:
    """A subscription and the management group it is in."""

    id: str
    tenant_id: str
    name: str
    parent: str


@dataclass
class ManagementGroup:
    """A management group below another, or a tenant's root group."""

    name: str
    tenant_id: str
    parent: str | None


@dataclass
class Tenancy:
    """All tenants with what hangs below them."""

    tenants: dict[str, Tenant] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    groups: dict[str, ManagementGroup] = field(default_factory=dict)

    def add_tenant(self, tenant_id: str) -> Tenant:
        """Create a tenant with its root management group, unless it exists."""
        plain = tenant_id.lower()
        if plain not in self.tenants:
            self.tenants[plain] = Tenant(plain, f"t{plain[:8]}.onmicrosoft.com")
            self.groups[plain] = ManagementGroup(plain, plain, None)
        return self.tenants[plain]

    def add_group(self, name: str, tenant_id: str, parent: str | None = None) -> ManagementGroup:
        """Create or move a management group."""
        above = (parent or tenant_id).lower()
        if above not in self.groups:
            raise ControlError(f"no management group {above}")
        self.groups[name.lower()] = ManagementGroup(name, tenant_id.lower(), above)
        return self.groups[name.lower()]

    def add_subscription(
        self, subscription_id: str, tenant_id: str, parent: str | None = None
    ) -> Subscription:
        """Create a subscription or move it below another management group."""
        plain = subscription_id.lower()
        above = (parent or tenant_id).lower()
        if above not in self.groups:
            raise ControlError(f"no management group {above}")
        created = Subscription(plain, tenant_id.lower(), f"subscription {plain[-4:]}", above)
        self.subscriptions[plain] = created
        return created

    def tenant_named(self, name: str) -> Tenant | None:
        """Return the tenant with this id or domain."""
        plain = name.lower()
        return next((tenant for tenant in self.tenants.values() if plain in {tenant.id, tenant.domain}), None)

    def tenant_of(self, scope: str) -> str | None:
        """Return the tenant a scope is in; the root scope is in every tenant."""
        subscription = ids.subscription_of(scope)
        if subscription is not None:
            found = self.subscriptions.get(subscription)
            return found.tenant_id if found else None
        group = _group_in(scope)
        return self.groups[group].tenant_id if group in self.groups else None

    def ancestors(self, scope: str) -> Iterator[str]:
        """Yield a scope and all scopes it inherits from, comparable, up to the root."""
        yield from (one for one in ids.lineage(scope) if one != "/providers")
        yield from (f"{ids.MANAGEMENT_GROUPS}{name}" for name in self._groups_above(scope))
        yield ids.ROOT

    def _groups_above(self, scope: str) -> Iterator[str]:
        subscription = self.subscriptions.get(ids.subscription_of(scope) or "")
        own = self.groups.get(_group_in(scope))
        above = subscription.parent if subscription else own.parent if own else None
        while above is not None:
            yield above
            above = self.groups[above].parent

    def reset(self) -> None:
        """Return to the home tenant with its one subscription."""
        self.tenants.clear()
        self.subscriptions.clear()
        self.groups.clear()
        self.add_tenant(HOME_TENANT)
        self.add_subscription(HOME_SUBSCRIPTION, HOME_TENANT)


def _group_in(scope: str) -> str:
    plain = ids.key(scope)
    if not plain.startswith(ids.MANAGEMENT_GROUPS):
        return ""
    return plain.removeprefix(ids.MANAGEMENT_GROUPS).split("/")[0]


tenancy = Tenancy()
tenancy.reset()
on_reset(tenancy.reset)


def guid(text: str | None) -> str:
    """Return a GUID in its comparable form, a new one when none is given."""
    try:
        return str(uuid.UUID(text)) if text else str(uuid.uuid4())
    except ValueError as error:
        raise ControlError(f"not a GUID: {text}") from error


@route("POST", "/tenants")
def create_tenant(request: ControlRequest) -> dict[str, Any]:
    """Create a tenant."""
    tenant = tenancy.add_tenant(guid(request.body.get("tenant")))
    return {"tenant": tenant.id, "domain": tenant.domain}


@route("POST", "/management-groups")
def create_group(request: ControlRequest) -> dict[str, Any]:
    """Create a management group, below the tenant's root group when no parent is named."""
    tenant = guid(request.text("tenant", HOME_TENANT))
    group = tenancy.add_group(request.text("name"), tenant, request.body.get("parent"))
    return {"id": f"/providers/Microsoft.Management/managementGroups/{group.name}", "name": group.name}


@route("POST", "/subscriptions")
def create_subscription(request: ControlRequest) -> dict[str, Any]:
    """Create a subscription in a tenant, below a management group."""
    tenant = tenancy.add_tenant(guid(request.text("tenant", HOME_TENANT)))
    made = tenancy.add_subscription(
        guid(request.body.get("subscription")), tenant.id, request.body.get("parent")
    )
    return {"subscription": made.id, "tenant": made.tenant_id}


@operation(
    "arm",
    "GET",
    "/subscriptions/{subscription}",
    versions=_VERSIONS,
    action="Microsoft.Resources/subscriptions/read",
    source=_SOURCE,
)
def get_subscription(call: Call) -> JsonObject:
    """Show a subscription."""
    return _shown(tenancy.subscriptions[call.subscription])


@operation("arm", "GET", "/subscriptions", versions=_VERSIONS, source=_SOURCE)
def list_subscriptions(call: Call) -> JsonObject:
    """List the subscriptions of the caller's tenant."""
    own = call.caller.tenant_id
    return {"value": [_shown(one) for one in tenancy.subscriptions.values() if one.tenant_id == own]}


def _shown(subscription: Subscription) -> JsonObject:
    return {
        "id": f"/subscriptions/{subscription.id}",
        "subscriptionId": subscription.id,
        "tenantId": subscription.tenant_id,
        "displayName": subscription.name,
        "state": "Enabled",
    }


@operation(
    "arm",
    "GET",
    "/providers/Microsoft.Management/managementGroups/{name}",
    versions=_GROUP_VERSIONS,
    action="Microsoft.Management/managementGroups/read",
    source=_GROUPS_SOURCE,
)
def get_group(call: Call) -> Answer:
    """Show a management group with the group above it."""
    group = tenancy.groups.get(call.params["name"].lower())
    if group is None:
        raise ArmError(404, "NotFound", f"Management group '{call.params['name']}' was not found.")
    parent = {"name": group.parent} if group.parent else None
    properties = {"tenantId": group.tenant_id, "displayName": group.name, "details": {"parent": parent}}
    shown = {"id": call.resource_id, "type": "Microsoft.Management/managementGroups", "name": group.name}
    return Answer(200, {**shown, "properties": properties})
