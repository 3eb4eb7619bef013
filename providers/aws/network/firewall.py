"""Phase 2 on AWS, Network Firewall: drop the workload's addresses in the VPC's firewall policy.

The rules are stateless: they come before every stateful rule, whose pass rules would win over a drop in the
default order, and they count for established flows too (Network Firewall developer guide, "Stateless and
stateful rules engines", "Updating a rule group").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.network.interfaces import FIND_INTERFACES, all_of, declared_hosts
from providers.aws.resources import FirewallPolicy, of_kind
from providers.aws.session import AwsMeasure, error_code, translated

if TYPE_CHECKING:
    from types_boto3_network_firewall import NetworkFirewallClient
    from types_boto3_network_firewall.type_defs import RuleGroupTypeDef

REFERENCES = "StatelessRuleGroupReferences"


class NetworkFirewallDeny(
    AwsMeasure, cloud=Cloud.AWS, phase=Phase.NETWORK_ISOLATE, name="network-firewall-deny"
):
    """Put a rule group that drops the workload's addresses in front of the firewall policy's others."""

    permissions = (
        *FIND_INTERFACES,
        *on_target(
            "network-firewall:DescribeFirewallPolicy",
            "network-firewall:UpdateFirewallPolicy",
            "network-firewall:CreateRuleGroup",
            "network-firewall:DescribeRuleGroup",
            "network-firewall:DeleteRuleGroup",
        ),
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared firewall policies, for a workload that has interfaces."""
        if not declared_hosts(workload):
            return []
        return [
            Target(kind=each.kind, ref=each.ref, account=workload.account, region=workload.region)
            for each in of_kind(workload.network, FirewallPolicy)
        ]

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The policy, its present groups, and the group that will be made."""
        return target.ref, *(f"{_prefix(target)}:{kind}-rulegroup/*" for kind in ("stateless", "stateful"))

    @property
    def firewall(self) -> NetworkFirewallClient:
        """The responder's way to Network Firewall."""
        return self.access.client("network-firewall")

    def snapshot(self, target: Target) -> JsonObject:
        """Read the policy's stateless groups and the workload's addresses."""
        addresses = sorted({address for each in all_of(self.access) for address in each.addresses})
        if not addresses:
            raise PermanentCloudError("the workload has no interface with an address", resource=target.ref)
        return {REFERENCES: self._policy(target).get(REFERENCES), "addresses": addresses}

    def apply(self, target: Target, state: State) -> Change:
        """Make the group where it is missing, and refer to it first."""
        rules = _rules(state.values["addresses"])
        made = self._ensure_group(target, rules)
        wanted = _in_front(state.values[REFERENCES] or [], self._group_arn(target))
        attached = self._refer(target, wanted)
        return self.done(target, state, changed=made or attached, group=self._group_arn(target))

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The policy refers to our group first, and the group drops every address both ways."""
        references = self._policy(target).get(REFERENCES) or []
        first: JsonObject = min(references, key=lambda each: each["Priority"], default={})
        rules = self._group_rules(target)
        placed = first.get("ResourceArn") == change.after["group"]
        complete = rules == _rules(change.before["addresses"])
        place, reach = "come first" if placed else "do not come first", "cover" if complete else "miss"
        text = f"drop rules {place} and {reach}"
        addresses = ", ".join(change.before["addresses"])
        return (
            found(
                Method.EFFECTIVE_POLICY,
                f"{text} {addresses}",
                holds=placed and complete,
                references=references,
            ),
        )

    def revert(self, change: Change) -> Finding:
        """Restore the policy's references, and delete our group."""
        target, before = change.target, change.before[REFERENCES]
        self._refer(target, before)
        self._delete_group(target)
        actual = self._policy(target).get(REFERENCES)
        same = (actual or []) == (before or [])
        text = "restored" if same else "differ from the pre-state"
        return found(Method.EFFECTIVE_POLICY, f"stateless groups {text}", holds=same, references=actual)

    def _policy(self, target: Target) -> JsonObject:
        with translated(target.ref):
            answer = self.firewall.describe_firewall_policy(FirewallPolicyArn=target.ref)
        return cast("JsonObject", answer["FirewallPolicy"])

    def _refer(self, target: Target, references: list[JsonObject] | None) -> bool:
        with translated(target.ref):
            answer = self.firewall.describe_firewall_policy(FirewallPolicyArn=target.ref)
        policy = cast("JsonObject", dict(answer["FirewallPolicy"]))
        if (policy.get(REFERENCES) or []) == (references or []):
            return False
        policy.pop(REFERENCES, None)
        if references is not None:
            policy[REFERENCES] = references
        with translated(target.ref):
            self.firewall.update_firewall_policy(
                FirewallPolicyArn=target.ref,
                UpdateToken=answer["UpdateToken"],
                FirewallPolicy=policy,  # type: ignore[arg-type]
            )
        return True

    def _group_name(self, target: Target) -> str:
        """One group for each incident and policy; letters, digits and hyphens only."""
        policy = target.ref.rsplit("/", 1)[-1]
        return f"firebreak-{re.sub('[^A-Za-z0-9-]', '-', self.run.incident_id)}-{policy}"[:128]

    def _group_arn(self, target: Target) -> str:
        return f"{_prefix(target)}:stateless-rulegroup/{self._group_name(target)}"

    def _group_rules(self, target: Target) -> list[JsonObject] | None:
        try:
            answer = self.firewall.describe_rule_group(RuleGroupArn=self._group_arn(target))
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            with translated(target.ref):
                raise
        source = answer["RuleGroup"]["RulesSource"]["StatelessRulesAndCustomActions"]
        return cast("list[JsonObject]", source["StatelessRules"])

    def _ensure_group(self, target: Target, rules: list[JsonObject]) -> bool:
        existing = self._group_rules(target)
        if existing == rules:
            return False
        if existing is not None:
            raise PermanentCloudError(
                "a rule group of that name has other rules",
                resource=self._group_arn(target),
                remedy="delete it",
            )
        group = cast(
            "RuleGroupTypeDef",
            {"RulesSource": {"StatelessRulesAndCustomActions": {"StatelessRules": rules}}},
        )
        with translated(target.ref):
            self.firewall.create_rule_group(
                RuleGroupName=self._group_name(target),
                Type="STATELESS",
                # One unit for each rule: each names one address (developer guide, "Rule group capacity").
                Capacity=max(len(rules), 10),
                RuleGroup=group,
                Tags=[{"Key": "firebreak:incident", "Value": self.run.incident_id}],
            )
        return True

    def _delete_group(self, target: Target) -> None:
        if self._group_rules(target) is None:
            return
        with translated(self._group_arn(target)):
            self.firewall.delete_rule_group(RuleGroupArn=self._group_arn(target))


def _prefix(target: Target) -> str:
    return target.ref.rsplit(":", 1)[0]


def _rules(addresses: list[str]) -> list[JsonObject]:
    """Drop what comes from and what goes to each address."""
    found: list[JsonObject] = []
    for address in addresses:
        definition = [{"AddressDefinition": f"{address}/{128 if ':' in address else 32}"}]
        for side in ("Sources", "Destinations"):
            rule = {"MatchAttributes": {side: definition}, "Actions": ["aws:drop"]}
            found.append({"RuleDefinition": rule, "Priority": len(found) + 1})
    return found


def _in_front(references: list[JsonObject], group: str) -> list[JsonObject]:
    """Refer to our group before all others, moving them back only where there is no room."""
    lowest = min((each["Priority"] for each in references), default=2)
    if lowest > 1:
        return [{"ResourceArn": group, "Priority": lowest - 1}, *references]
    moved = [{**each, "Priority": each["Priority"] + 1} for each in references]
    return [{"ResourceArn": group, "Priority": 1}, *moved]
