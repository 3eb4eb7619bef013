"""Phase 2 on AWS, security groups: isolate every interface of the workload, and prove it by flow logs."""

from __future__ import annotations

from collections.abc import Iterator

from firebreak.declarations import of_kind
from firebreak.errors import ContainmentError
from firebreak.measure import found, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.network import autoscaling, flowproof, flowrecords, swap
from providers.aws.network.canary import Attempt, CanaryFunction, Reach, declared_canary
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
from providers.aws.resources import Canary, FlowLog
from providers.aws.session import AwsMeasure

CONTROL_PORTS = 3
"""How many ports the positive control tries at most."""
NO_CANARY = "the inventory declares no canary for this workload"


class QuarantineSecurityGroup(
    AwsMeasure, cloud=Cloud.AWS, phase=Phase.NETWORK_ISOLATE, name="quarantine-security-group"
):
    """Move every interface of the workload into a security group without rules, cutting open connections."""

    permissions = (
        *FIND_INTERFACES,
        *on_any(
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSecurityGroupRules",
            "ec2:CreateSecurityGroup",
            "ec2:CreateTags",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:DeleteSecurityGroup",
            "lambda:InvokeFunction",
        ),
        *on_target("ec2:ModifyNetworkInterfaceAttribute"),
        *autoscaling.HOLD_INSTANCE,
        *flowrecords.READ_FLOW_LOGS,
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
        return _places(action, workload) or ("*",)

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
            "control": self._control(found),
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
        return (
            self._effective(actual, change),
            *self._probe(actual, change),
            self._log_evidence(actual, change),
        )

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

    def _control(self, target: Interface) -> JsonObject:
        canary = declared_canary(self.access)
        if canary is None:
            return {"arrived": False, "told": NO_CANARY, "missing": True}
        try:
            attempts = [
                (port, canary.try_to_reach(target.addresses[0], port)) for port in self._ports(target, canary)
            ]
        except ContainmentError as error:
            return {"arrived": False, "told": str(error), "missing": True, "port": canary.port}
        port, best = next((each for each in attempts if each[1].arrived), attempts[0])
        unknown = any(each.reach is Reach.UNKNOWN for _, each in attempts) and not best.arrived
        return {**best.json(target.addresses[0], port), "missing": unknown}

    def _ports(self, target: Interface, canary: CanaryFunction) -> list[int]:
        """The canary's port, and others that the interface's own rules let in."""
        rules = [rule for group in target.groups for rule in read_group(self.access, group)["IpPermissions"]]
        admitted = [
            rule["FromPort"] for rule in rules if rule["IpProtocol"] == "tcp" and rule.get("FromPort", 0) > 0
        ]
        return list(dict.fromkeys([canary.port, *admitted]))[:CONTROL_PORTS]

    def _effective(self, actual: Interface, change: Change) -> Finding:
        closed = change.after["group"]
        group = read_group(self.access, closed)
        rules = [*group["IpPermissions"], *group["IpPermissionsEgress"]]
        alone = actual.groups == (closed,)
        text = f"{closed} is {'the only group' if alone else 'not the only group'} and has {len(rules)} rules"
        return found(
            Method.EFFECTIVE_POLICY,
            text,
            holds=alone and not rules,
            groups=list(actual.groups),
            rules=len(rules),
            control=change.before["control"],
        )

    def _probe(self, actual: Interface, change: Change) -> tuple[Finding, ...]:
        """One more canary packet; without a control it only feeds the flow logs."""
        control, canary = change.before["control"], declared_canary(self.access)
        if canary is None or control["missing"]:
            self._send(canary, actual, control)
            text = f"canary not conclusive: {control['told'] if canary else NO_CANARY}"
            return (found(Method.LIVE_PROBE, text, holds=False, inconclusive=True),)
        attempt = self._send(canary, actual, control)
        if not control["arrived"]:
            return ()  # its rules never let the canary in, so only rules and flow logs can speak
        text = f"canary to {actual.addresses[0]}:{control['port']} {attempt.reach}: {attempt.told}"
        return (
            found(
                Method.LIVE_PROBE,
                text,
                holds=attempt.reach is Reach.TIMED_OUT,
                inconclusive=attempt.reach is Reach.UNKNOWN,
                before=control,
                now=attempt.json(actual.addresses[0], control["port"]),
            ),
        )

    def _send(self, canary: CanaryFunction | None, actual: Interface, control: JsonObject) -> Attempt:
        if canary is None:
            return Attempt(Reach.UNKNOWN, NO_CANARY)
        return canary.try_to_reach(actual.addresses[0], control.get("port", canary.port))

    def _log_evidence(self, actual: Interface, change: Change) -> Finding:
        source, canary = flowrecords.source_of(self.access, actual), declared_canary(self.access)
        if isinstance(source, str) or canary is None:
            missing = source if isinstance(source, str) else NO_CANARY
            return found(Method.LOG_EVIDENCE, f"flow logs: {missing}", holds=False, inconclusive=True)
        control = change.before["control"]
        known = {control.get("source_address", "")} - {""}
        isolation = flowproof.Isolation(
            interface=actual.id,
            addresses=frozenset(actual.addresses),
            applied_at=change.applied_at,
            canary_sources=canary.addresses() | known,
            canary_port=control.get("port", canary.port),
            interval=source.interval,
        )
        reading = flowrecords.read(self.access, source, actual.id, change.applied_at)
        return flowproof.judge(reading.records, isolation, unreadable=reading.unreadable)


def _places(action: str, workload: Workload) -> tuple[str, ...]:
    if action == "lambda:InvokeFunction":
        return tuple(each.ref for each in of_kind(workload.network, Canary))
    return tuple(_log_places(action, workload))


def _log_places(action: str, workload: Workload) -> Iterator[str]:
    for each in of_kind(workload.network, FlowLog):
        in_bucket = ":s3:::" in each.ref
        if action == "logs:FilterLogEvents" and not in_bucket:
            group = each.ref.removesuffix(":*")
            yield from (f"{group}:*", group)
        elif action == "s3:GetObject" and in_bucket:
            yield f"{each.ref.rstrip('/')}/*"
        elif action == "s3:ListBucket" and in_bucket:
            yield each.ref.partition("/")[0]
