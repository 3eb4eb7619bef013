"""Phase 2 on AWS, Network Firewall: drop the workload's addresses in the VPC's firewall policy.

The rules are stateless: they come before every stateful rule, whose pass rules would win over a drop in the
default order, and they count for established flows too (Network Firewall developer guide, "Stateless and
stateful rules engines", "Updating a rule group").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.session import owner_mark
from providers.aws.answers import already, error_code, translated
from providers.aws.network.interfaces import FIND_INTERFACES, all_of, declared_hosts
from providers.aws.resources import FirewallPolicy
from providers.aws.session import AwsMeasure

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
            "network-firewall:UpdateRuleGroup",
            "network-firewall:DeleteRuleGroup",
        ),
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared firewall policies, for a workload that has interfaces."""
        if not declared_hosts(workload):
            return []
        return targets_of(workload, of_kind(workload.network, FirewallPolicy))

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
        attached = self._refer(target, lambda current: _in_front(current, self._group_arn(target)))
        return self.done(target, state, changed=made or attached, group=self._group_arn(target))

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The policy refers to our group first, and the group drops every address both ways."""
        references = self._policy(target).get(REFERENCES) or []
        first: JsonObject = min(references, key=lambda each: each["Priority"], default={})
        read = self._group_rules(target)
        placed = first.get("ResourceArn") == change.after["group"]
        complete = read is not None and read[0] == _rules(change.before["addresses"])
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
        """Take our reference out, give the others their places back, and delete our group."""
        target, before = change.target, change.before[REFERENCES] or []
        ours = self._group_arn(target)
        self._refer(target, lambda current: _taken_out(current, before, ours))
        self._delete_group(target)
        actual = self._policy(target).get(REFERENCES) or []
        gone = all(each["ResourceArn"] != ours for each in actual)
        text = "restored" if actual == before else "are without ours" if gone else "still have ours"
        return found(Method.EFFECTIVE_POLICY, f"stateless groups {text}", holds=gone, references=actual)

    def _policy(self, target: Target) -> JsonObject:
        with translated(target.ref):
            answer = self.firewall.describe_firewall_policy(FirewallPolicyArn=target.ref)
        return cast("JsonObject", answer["FirewallPolicy"])

    def _refer(self, target: Target, change: Callable[[list[JsonObject]], list[JsonObject]]) -> bool:
        """Rewrite the references with the token of the very reading that the change was made from."""
        with translated(target.ref):
            answer = self.firewall.describe_firewall_policy(FirewallPolicyArn=target.ref)
        policy = cast("JsonObject", dict(answer["FirewallPolicy"]))
        current = policy.pop(REFERENCES, None) or []
        references = change(current)
        if references == current:
            return False
        if references:
            policy[REFERENCES] = references
        with translated(target.ref):
            self.firewall.update_firewall_policy(
                FirewallPolicyArn=target.ref,
                UpdateToken=answer["UpdateToken"],
                FirewallPolicy=policy,  # type: ignore[arg-type]
            )
        return True

    def _group_name(self, target: Target) -> str:
        """One group for each workload and policy, so that two workloads are released on their own."""
        policy = target.ref.rsplit("/", 1)[-1]
        return f"firebreak-{owner_mark(self.run)}-{policy}"[:128]

    def _group_arn(self, target: Target) -> str:
        return f"{_prefix(target)}:stateless-rulegroup/{self._group_name(target)}"

    def _group_rules(self, target: Target) -> tuple[list[JsonObject], str] | None:
        """The rules of our group with its update token, or None where there is no group."""
        with translated(target.ref):
            try:
                answer = self.firewall.describe_rule_group(RuleGroupArn=self._group_arn(target))
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
                return None
        source = answer["RuleGroup"]["RulesSource"]["StatelessRulesAndCustomActions"]
        return cast("list[JsonObject]", source["StatelessRules"]), answer["UpdateToken"]

    def _ensure_group(self, target: Target, rules: list[JsonObject]) -> bool:
        existing = self._group_rules(target)
        if existing is not None and existing[0] == rules:
            return False
        group = cast(
            "RuleGroupTypeDef",
            {"RulesSource": {"StatelessRulesAndCustomActions": {"StatelessRules": rules}}},
        )
        if existing is None:
            return self._create_group(target, rules, group)
        with translated(target.ref):
            self.firewall.update_rule_group(
                RuleGroupArn=self._group_arn(target), UpdateToken=existing[1], RuleGroup=group
            )
        return True

    def _create_group(self, target: Target, rules: list[JsonObject], group: RuleGroupTypeDef) -> bool:
        with translated(target.ref):
            try:
                self.firewall.create_rule_group(
                    RuleGroupName=self._group_name(target),
                    Type="STATELESS",
                    # A capacity cannot grow; each rule takes one unit (guide, "Rule group capacity").
                    Capacity=max(2 * len(rules), 100),
                    RuleGroup=group,
                    Tags=[{"Key": "firebreak:workload", "Value": self.run.workload.id}],
                )
            except ClientError:
                made = self._group_rules(target)
                if made is None or made[0] != rules:
                    raise
                return False  # by another execution of this very step, a moment ago
        return True

    def _delete_group(self, target: Target) -> None:
        if self._group_rules(target) is None:
            return
        with already(self._group_arn(target), "ResourceNotFoundException"):
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
    others = [each for each in references if each["ResourceArn"] != group]
    if len(others) < len(references) and _comes_first(references, group):
        return references
    lowest = min((each["Priority"] for each in others), default=2)
    if lowest > 1:
        return [{"ResourceArn": group, "Priority": lowest - 1}, *others]
    moved = [{**each, "Priority": each["Priority"] + 1} for each in others]
    return [{"ResourceArn": group, "Priority": 1}, *moved]


def _comes_first(references: list[JsonObject], group: str) -> bool:
    return bool(min(references, key=lambda each: each["Priority"])["ResourceArn"] == group)


def _taken_out(references: list[JsonObject], before: list[JsonObject], group: str) -> list[JsonObject]:
    """Drop our reference; the others return to their old places where nobody changed them meanwhile."""
    others = [each for each in references if each["ResourceArn"] != group]
    if sorted(each["ResourceArn"] for each in others) == sorted(each["ResourceArn"] for each in before):
        return before
    return others
