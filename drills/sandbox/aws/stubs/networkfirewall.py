"""Serve the Network Firewall operations that containment needs, over the firewalls the emulator keeps.

Shapes and errors: Network Firewall API reference. The emulator knows firewalls but no policies or rule
groups; both live here, and the packet simulator reads them through `firewall_of`.
"""

from __future__ import annotations

import uuid
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moto.networkfirewall.models import networkfirewall_backends

from drills.sandbox.aws.firewall import Firewall, RuleSyntaxError, stateful_headers
from drills.sandbox.aws.state import on_reset
from drills.sandbox.aws.stubs import StubError, StubRequest, stub

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = "network-firewall"
Json = dict[str, Any]


@dataclass
class Versioned:
    """A policy or rule group with the token that guards its next update."""

    arn: str
    name: str
    kind: str
    body: Json
    description: str = ""
    capacity: int = 0
    tags: list[Json] = field(default_factory=list)
    token: str = field(default_factory=lambda: str(uuid.uuid4()))

    def replace(self, body: Json, token: str) -> None:
        """Take over a new body when the caller has seen the current one."""
        if token != self.token:
            raise StubError("InvalidTokenException", "Update token is invalid.")
        self.body = body
        self.token = str(uuid.uuid4())


policies: dict[str, Versioned] = {}
rule_groups: dict[str, Versioned] = {}
on_reset(policies.clear)
on_reset(rule_groups.clear)


def _firewalls() -> Iterator[Any]:
    for account, region, _backend in networkfirewall_backends.iter_backends():
        yield from networkfirewall_backends[account][region].firewalls.values()


def firewall_of(vpc_id: str) -> Firewall | None:
    """Return the firewall whose endpoints stand in this VPC."""
    for firewall in _firewalls():
        policy = policies.get(firewall.firewall_policy_arn)
        if firewall.vpc_id == vpc_id and policy is not None:
            referred = _references(policy.body) & set(rule_groups)
            return Firewall(policy.body, {arn: rule_groups[arn].body for arn in referred})
    return None


def _arn(request: StubRequest, kind: str, name: str) -> str:
    return f"arn:aws:network-firewall:{request.region}:{request.account}:{kind}/{name}"


def _kind_path(params: Json) -> str:
    return "stateless-rulegroup" if params.get("Type") == "STATELESS" else "stateful-rulegroup"


def _policy_resource(request: StubRequest) -> str:
    params = request.params
    return str(
        params.get("FirewallPolicyArn")
        or _arn(request, "firewall-policy", params.get("FirewallPolicyName", "*"))
    )


def _group_resource(request: StubRequest) -> str:
    params = request.params
    return str(
        params.get("RuleGroupArn") or _arn(request, _kind_path(params), params.get("RuleGroupName", "*"))
    )


def _find(table: dict[str, Versioned], arn: str) -> Versioned:
    if arn not in table:
        raise StubError("ResourceNotFoundException", f"Unable to locate resource {arn}")
    return table[arn]


def _status(item: Versioned, prefix: str) -> Json:
    associations = _associations(item)
    return {
        f"{prefix}Name": item.name,
        f"{prefix}Arn": item.arn,
        f"{prefix}Id": str(uuid.uuid5(uuid.NAMESPACE_URL, item.arn)),
        f"{prefix}Status": "ACTIVE",
        "Description": item.description,
        "Tags": item.tags,
        "NumberOfAssociations": associations,
    }


def _associations(item: Versioned) -> int:
    if item.kind == "policy":
        return sum(firewall.firewall_policy_arn == item.arn for firewall in _firewalls())
    return sum(item.arn in _references(policy.body) for policy in policies.values())


def _references(policy: Json) -> set[str]:
    keys = ("StatefulRuleGroupReferences", "StatelessRuleGroupReferences")
    return {reference["ResourceArn"] for key in keys for reference in policy.get(key, ())}


def _checked_policy(body: Json) -> Json:
    for arn in _references(body):
        if arn not in rule_groups:
            raise StubError("InvalidRequestException", f"resource ARN is invalid, parameter: [{arn}]")
    return deepcopy(body)


@stub(SERVICE, "CreateFirewallPolicy", resource=_policy_resource)
def create_firewall_policy(request: StubRequest) -> Json:
    """Create a policy."""
    params = request.params
    arn = _arn(request, "firewall-policy", params["FirewallPolicyName"])
    if arn in policies:
        raise StubError("InvalidRequestException", "A resource with the specified name already exists")
    body = _checked_policy(params["FirewallPolicy"])
    policies[arn] = Versioned(
        arn, params["FirewallPolicyName"], "policy", body, params.get("Description", "")
    )
    return {
        "UpdateToken": policies[arn].token,
        "FirewallPolicyResponse": _status(policies[arn], "FirewallPolicy"),
    }


@stub(SERVICE, "DescribeFirewallPolicy", resource=_policy_resource)
def describe_firewall_policy(request: StubRequest) -> Json:
    """Return a policy with its update token."""
    policy = _find(policies, _policy_resource(request))
    return {
        "UpdateToken": policy.token,
        "FirewallPolicyResponse": _status(policy, "FirewallPolicy"),
        "FirewallPolicy": deepcopy(policy.body),
    }


@stub(SERVICE, "UpdateFirewallPolicy", resource=_policy_resource)
def update_firewall_policy(request: StubRequest) -> Json:
    """Replace a policy."""
    policy = _find(policies, _policy_resource(request))
    policy.replace(_checked_policy(request.params["FirewallPolicy"]), request.params["UpdateToken"])
    return {"UpdateToken": policy.token, "FirewallPolicyResponse": _status(policy, "FirewallPolicy")}


@stub(SERVICE, "DeleteFirewallPolicy", resource=_policy_resource)
def delete_firewall_policy(request: StubRequest) -> Json:
    """Delete a policy no firewall uses."""
    policy = _find(policies, _policy_resource(request))
    _refuse_in_use(policy)
    del policies[policy.arn]
    return {"FirewallPolicyResponse": _status(policy, "FirewallPolicy")}


@stub(SERVICE, "TagResource")
def tag_resource(request: StubRequest) -> Json:
    """Add tags to a policy or rule group, replacing those of the same key."""
    arn, added = request.params["ResourceArn"], request.params["Tags"]
    item = _find(policies if ":firewall-policy/" in arn else rule_groups, arn)
    keys = {tag["Key"] for tag in added}
    item.tags = [*(tag for tag in item.tags if tag["Key"] not in keys), *added]
    return {}


def _refuse_in_use(item: Versioned) -> None:
    if _associations(item):
        raise StubError("InvalidOperationException", f"Unable to delete {item.arn}: it is still in use")


def _rules(request: StubRequest) -> Json:
    params = request.params
    group = deepcopy(params.get("RuleGroup") or {"RulesSource": {"RulesString": params.get("Rules", "")}})
    try:
        list(stateful_headers(group))
    except RuleSyntaxError as error:
        raise StubError("InvalidRequestException", str(error)) from error
    return group


@stub(SERVICE, "CreateRuleGroup", resource=_group_resource)
def create_rule_group(request: StubRequest) -> Json:
    """Create a rule group."""
    params, arn = request.params, _group_resource(request)
    if arn in rule_groups:
        raise StubError("InvalidRequestException", "A resource with the specified name already exists")
    group = Versioned(
        arn, params["RuleGroupName"], params["Type"], _rules(request), params.get("Description", "")
    )
    group.capacity, group.tags = int(params["Capacity"]), list(params.get("Tags") or ())
    rule_groups[arn] = group
    return {"UpdateToken": group.token, "RuleGroupResponse": _group_status(group)}


def _group_status(group: Versioned) -> Json:
    return _status(group, "RuleGroup") | {"Type": group.kind, "Capacity": group.capacity}


@stub(SERVICE, "DescribeRuleGroup", resource=_group_resource)
def describe_rule_group(request: StubRequest) -> Json:
    """Return a rule group with its update token."""
    group = _find(rule_groups, _group_resource(request))
    return {
        "UpdateToken": group.token,
        "RuleGroup": deepcopy(group.body),
        "RuleGroupResponse": _group_status(group),
    }


@stub(SERVICE, "UpdateRuleGroup", resource=_group_resource)
def update_rule_group(request: StubRequest) -> Json:
    """Replace the rules of a group."""
    group = _find(rule_groups, _group_resource(request))
    group.replace(_rules(request), request.params["UpdateToken"])
    return {"UpdateToken": group.token, "RuleGroupResponse": _group_status(group)}


@stub(SERVICE, "DeleteRuleGroup", resource=_group_resource)
def delete_rule_group(request: StubRequest) -> Json:
    """Delete a rule group no policy refers to."""
    group = _find(rule_groups, _group_resource(request))
    _refuse_in_use(group)
    del rule_groups[group.arn]
    return {"RuleGroupResponse": _group_status(group)}


@stub(SERVICE, "ListRuleGroups", resource=lambda request: _arn(request, "stateful-rulegroup", "*"))
def list_rule_groups(request: StubRequest) -> Json:
    """List the account's rule groups."""
    return {"RuleGroups": [{"Name": item.name, "Arn": item.arn} for item in _owned(rule_groups, request)]}


@stub(SERVICE, "ListFirewallPolicies", resource=lambda request: _arn(request, "firewall-policy", "*"))
def list_firewall_policies(request: StubRequest) -> Json:
    """List the account's policies."""
    return {"FirewallPolicies": [{"Name": item.name, "Arn": item.arn} for item in _owned(policies, request)]}


def _owned(table: dict[str, Versioned], request: StubRequest) -> list[Versioned]:
    return [item for item in table.values() if item.arn.split(":")[3:5] == [request.region, request.account]]
