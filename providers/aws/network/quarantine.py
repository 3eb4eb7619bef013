"""Phase 2 on AWS, security groups: isolate every interface of the workload, and prove it by flow logs."""

from __future__ import annotations

from firebreak.measure import found, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.network import autoscaling, swap, watch
from providers.aws.network.groups import QuarantineGroups, read_group
from providers.aws.network.interfaces import (
    FIND_INTERFACES,
    Interface,
    declared_hosts,
    ec2_arn,
    interface,
    interface_arn,
    interface_targets,
    require_ours_to_change,
)
from providers.aws.network.watch import Watch
from providers.aws.session import AwsMeasure


class QuarantineSecurityGroup(
    AwsMeasure, cloud=Cloud.AWS, phase=Phase.NETWORK_ISOLATE, name="quarantine-security-group"
):
    """Move every interface into a security group without rules, cutting the connections that it can.

    Some stay tracked whatever the rules say (watch.STILL_TRACKED): the plan and the findings tell which.
    """

    permissions = (
        *FIND_INTERFACES,
        *on_any(
            "ec2:DescribeSecurityGroupRules",
            "ec2:CreateSecurityGroup",
            "ec2:CreateTags",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:DeleteSecurityGroup",
        ),
        *on_target("ec2:ModifyNetworkInterfaceAttribute"),
        *autoscaling.HOLD_INSTANCE,
        *watch.WATCH,
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared instances and interfaces."""
        return declared_hosts(workload)

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The interface, and the groups it may be moved to."""
        return interface_arn(target), ec2_arn(target, "security-group/*")

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:  # noqa: ARG003
        """The declared canary and flow log destinations."""
        return watch.places(action, workload)

    def discover(self, target: Target) -> list[Target]:
        """Every interface that the instance has now."""
        return interface_targets(self.access, target)

    def snapshot(self, target: Target) -> JsonObject:
        """Read groups and Auto Scaling membership, and see whether the canary reaches the interface."""
        found = interface(self.access, target.ref)
        require_ours_to_change(found)
        return {
            "groups": list(found.groups),
            "vpc": found.vpc,
            "addresses": list(found.addresses),
            "auto_scaling": autoscaling.membership(self.access, target.parent),
            "control": Watch(self.access).control(found),
        }

    def apply(self, target: Target, state: State) -> Change:
        """Swap to open and then to closed; a retry after a crash goes on from what it finds."""
        groups = QuarantineGroups(self.access, state.values["vpc"])
        changed = autoscaling.hold(self.access, target.parent, state.values["auto_scaling"])
        actual = interface(self.access, target.ref).groups
        closed = groups.closed_around(actual)
        if closed:
            groups.emptied(closed)  # isolated already: opening it again would let traffic out
        else:
            closed, opened, changed = groups.closed(), groups.opened(), True
            # Where an earlier attempt died half way, its own groups are those of the plan.
            own = state.values["groups"] if actual == (opened,) else actual
            swap.isolate(self.access, target.ref, opened=opened, closed=closed, own=own)
        group = state.values["auto_scaling"].get("group", "")
        return self.done(target, state, changed=changed, group=closed, auto_scaling_group=group)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The interface has the closed group alone, no canary arrives, and the flow logs say so."""
        actual = interface(self.access, target.ref)
        seen = Watch(self.access).findings(actual, change.applied_at, change.before["control"])
        return self._effective(actual, change), *seen

    def revert(self, change: Change) -> Finding:
        """Put the original groups back, remove ours once unused, and release the Auto Scaling group."""
        target, before = change.target, change.before
        if list(interface(self.access, target.ref).groups) != before["groups"]:
            swap.move(self.access, target.ref, before["groups"])
        QuarantineGroups(self.access, before["vpc"]).remove(change.after["group"])
        autoscaling.let_go(self.access, target.parent, before["auto_scaling"])
        groups, scaling = (
            interface(self.access, target.ref).groups,
            autoscaling.membership(self.access, target.parent),
        )
        same = list(groups) == before["groups"] and scaling == before["auto_scaling"]
        text = "restored" if same else "differ from the pre-state"
        return found(
            Method.CONFIGURATION,
            f"security groups {text}",
            holds=same,
            groups=list(groups),
            auto_scaling=scaling,
        )

    def begun(self, target: Target, state: State) -> Change:
        """The closed group, where one was made."""
        groups = QuarantineGroups(self.access, state.values["vpc"])
        closed = groups.closed_around(interface(self.access, target.ref).groups) or groups.made()
        return self.done(target, state, changed=True, group=closed)

    def _effective(self, actual: Interface, change: Change) -> Finding:
        closed = change.after["group"]
        group = read_group(self.access, closed)
        rules = [*group["IpPermissions"], *group["IpPermissionsEgress"]]
        alone = actual.groups == (closed,)
        text = f"{closed} is {'the only group' if alone else 'not the only group'} and has {len(rules)} rules"
        text = f"{text}; {Watch(self.access).outlived_by(actual)}"
        return found(
            Method.EFFECTIVE_POLICY,
            text,
            holds=alone and not rules,
            groups=list(actual.groups),
            rules=len(rules),
            control=change.before["control"],
        )
