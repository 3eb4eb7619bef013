"""Phase 2 on AWS, network ACLs: close a subnet that is the workload's alone.

A network ACL keeps no connection state, so it also cuts flows that a security group still tracks (VPC user
guide, "Network ACLs").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.parallel import each_of
from providers.aws.answers import already, settling, translated
from providers.aws.network import watch
from providers.aws.network.canary import declared_canary
from providers.aws.network.groups import INCIDENT_TAG
from providers.aws.network.interfaces import FIND_INTERFACES, Interface, declared_hosts, ec2_arn, matching
from providers.aws.network.watch import Watch
from providers.aws.resources import Subnet
from providers.aws.session import AwsMeasure

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import FilterTypeDef, NetworkAclTypeDef

SUBNET_TAG = "firebreak:subnet"
ALREADY_THERE = "NetworkAclEntryAlreadyExists"
GONE = "InvalidNetworkAclID.NotFound"
NOTHING_TO_SEE = "the subnet has no interface now that flow logs could speak of"


class QuarantineSubnetAcl(
    AwsMeasure, cloud=Cloud.AWS, phase=Phase.NETWORK_ISOLATE, name="quarantine-subnet-acl"
):
    """Give a subnet that is dedicated to the workload a network ACL that denies everything.

    The interfaces that no other measure isolates, such as those of functions and tasks, are watched here.
    """

    permissions = (
        *FIND_INTERFACES,
        *watch.WATCH,
        *on_any(
            "ec2:DescribeNetworkAcls", "ec2:CreateNetworkAcl", "ec2:CreateNetworkAclEntry", "ec2:CreateTags"
        ),
        *on_target("ec2:ReplaceNetworkAclAssociation", "ec2:DeleteNetworkAcl"),
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The subnets that the inventory declares as dedicated."""
        declared = of_kind(workload.network, Subnet)
        return targets_of(workload, [each for each in declared if each.dedicated])

    @classmethod
    def arns(cls, target: Target) -> tuple[str, ...]:
        """The subnet, and ACLs: the one in force and the one that will be made."""
        return ec2_arn(target, f"subnet/{target.ref}"), ec2_arn(target, "network-acl/*")

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:  # noqa: ARG003
        """The declared canary and flow log destinations."""
        return watch.places(action, workload)

    @property
    def ec2(self) -> EC2Client:
        """The responder's way to EC2."""
        return self.access.client("ec2")

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """The subnet's interfaces that are not the workload's."""
        return tuple(each.id for each in self._others(target))

    def snapshot(self, target: Target) -> JsonObject:
        """Read the ACL in force, and see which interfaces the canary reaches."""
        acl = self._in_force(target)
        return {"acl": acl["NetworkAclId"], "vpc": acl["VpcId"], "control": self._control(target)}

    def apply(self, target: Target, state: State) -> Change:
        """Make the denying ACL, complete its entries, and only then put it in force."""
        acl = next(self._ours(target), "") or self._create(target, state.values["vpc"])
        with settling(acl, GONE):
            self._complete(target, acl)
            changed = self._in_force(target)["NetworkAclId"] != acl
            if changed:
                self._replace(target, acl)
        return self.done(target, state, changed=changed, acl=acl)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Our ACL is in force and has no entry that allows; canary and flow logs say so of its interfaces."""
        return self._effective(target), *self._seen(target, change)

    def _effective(self, target: Target) -> Finding:
        acl = self._in_force(target)
        # By its tag: two executions of the step at one moment may have made an ACL each.
        ours = acl["NetworkAclId"] in self._ours(target)
        allows = [entry for entry in acl["Entries"] if entry["RuleAction"] == "allow"]
        text = f"{acl['NetworkAclId']} is in force with {len(allows)} allowing entries"
        return found(Method.EFFECTIVE_POLICY, text, holds=ours and not allows, entries=len(acl["Entries"]))

    def revert(self, change: Change) -> Finding:
        """Put the original ACL back in force, and delete ours."""
        target, wanted = change.target, change.before["acl"]
        if self._in_force(target)["NetworkAclId"] != wanted:
            self._replace(target, wanted)
        for ours in self._ours(target):
            with already(ours, GONE):
                self.ec2.delete_network_acl(NetworkAclId=ours)
        actual = self._in_force(target)["NetworkAclId"]
        text = "restored" if actual == wanted else "differs from the pre-state"
        return found(Method.CONFIGURATION, f"the subnet's ACL {text}", holds=actual == wanted, acl=actual)

    def _others(self, target: Target) -> list[Interface]:
        """The subnet's interfaces that are not declared themselves, the canary's own left out."""
        mine = {each.ref for each in self.run.workload.network}
        canary = declared_canary(self.access)
        return [
            each
            for each in matching(self.access, "subnet-id", target.ref)
            if not {each.id, each.instance} & mine
            and not (canary and each.description.startswith(canary.described))
        ]

    def _control(self, target: Target) -> JsonObject:
        others = self._others(target)
        controls = each_of(Watch(self.access).control, others)
        tried = {each.id: control for each, control in zip(others, controls, strict=True)}
        works = [call for control in controls for call in control["works"]]
        unproved = [f"{eni}: {control['why_not']}" for eni, control in tried.items() if control["why_not"]]
        gaps = dict.fromkeys(gap for control in controls for gap in control["listed_only"])
        return {
            "interfaces": tried,
            "works": works,
            "why_not": "; ".join(unproved) or ("" if others or self._proved_beside else NOTHING_TO_SEE),
            "listed_only": [*gaps, *(unproved if works else [])],
        }

    @property
    def _proved_beside(self) -> bool:
        """Whether the workload has interfaces whose isolation another measure proves from flow logs."""
        return bool(declared_hosts(self.run.workload))

    def _seen(self, target: Target, change: Change) -> list[Finding]:
        others, controls = self._others(target), change.before.get("control", {}).get("interfaces", {})
        if not others and not self._proved_beside:
            text = f"flow logs: {NOTHING_TO_SEE}"
            return [found(Method.LOG_EVIDENCE, text, holds=False, inconclusive=True)]
        instruments = Watch(self.access)

        def seen(each: Interface) -> tuple[Finding, ...]:
            # What came after the plan has no control: only rules and flow logs can speak.
            control = controls.get(each.id, {"arrived": False, "missing": False})
            return instruments.findings(each, change.applied_at, control)

        return [finding for findings in each_of(seen, others) for finding in findings]

    def _in_force(self, target: Target) -> NetworkAclTypeDef:
        found = self._acls(target, [{"Name": "association.subnet-id", "Values": [target.ref]}])
        if not found:
            raise PermanentCloudError(
                "there is no such subnet, or it has no network ACL", resource=target.ref
            )
        return found[0]

    def _ours(self, target: Target) -> Iterator[str]:
        found = self._acls(target, [{"Name": f"tag:{SUBNET_TAG}", "Values": [target.ref]}])
        yield from sorted(each["NetworkAclId"] for each in found)

    def _acls(self, target: Target, filters: list[FilterTypeDef]) -> list[NetworkAclTypeDef]:
        with translated(target.ref):
            return self.ec2.describe_network_acls(Filters=filters)["NetworkAcls"]

    def _create(self, target: Target, vpc: str) -> str:
        tags = {INCIDENT_TAG: self.run.incident_id, SUBNET_TAG: target.ref}
        with translated(target.ref):
            made = self.ec2.create_network_acl(
                VpcId=vpc,
                TagSpecifications=[
                    {
                        "ResourceType": "network-acl",
                        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                    }
                ],
            )
        return made["NetworkAcl"]["NetworkAclId"]

    def _complete(self, target: Target, acl: str) -> None:
        """Deny IPv4 and IPv6, in and out: a new ACL denies by default, and these entries say so."""
        for egress in (False, True):
            self._deny(target, acl, 1, {"CidrBlock": "0.0.0.0/0"}, egress=egress)
            self._deny(target, acl, 2, {"Ipv6CidrBlock": "::/0"}, egress=egress)

    def _deny(self, target: Target, acl: str, number: int, block: dict[str, str], *, egress: bool) -> None:
        with already(target.ref, ALREADY_THERE):
            self.ec2.create_network_acl_entry(
                NetworkAclId=acl,
                RuleNumber=number,
                Protocol="-1",
                RuleAction="deny",
                Egress=egress,
                **block,  # type: ignore[arg-type]
            )

    def _replace(self, target: Target, acl: str) -> None:
        association = next(
            each["NetworkAclAssociationId"]
            for each in self._in_force(target)["Associations"]
            if each["SubnetId"] == target.ref
        )
        with translated(target.ref):
            self.ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=acl)
