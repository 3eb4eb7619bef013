"""Phase 2 on AWS, public addresses: take the workload's elastic addresses off its interfaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firebreak.measure import found, on_any
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.answers import already, translated
from providers.aws.network.interfaces import (
    FIND_INTERFACES,
    declared_hosts,
    interface,
    interface_targets,
)
from providers.aws.session import AwsMeasure

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client


class DetachPublicIp(AwsMeasure, cloud=Cloud.AWS, phase=Phase.NETWORK_ISOLATE, name="detach-public-ip"):
    """Disassociate every elastic IP address of the workload; release gives each back to where it was.

    A public address that EC2 assigned by itself is left in place: ModifyNetworkInterfaceAttribute could
    take it off (``AssociatePublicIpAddress``), but it would return to Amazon's pool, and no release could
    give the same one back (EC2 user guide, "Public IPv4 addresses"). It is reported, and
    ``aws.quarantine-security-group`` closes it.
    """

    permissions = (
        *FIND_INTERFACES,
        # Both act on an association, which has no ARN to narrow them by.
        *on_any("ec2:DescribeAddresses", "ec2:DisassociateAddress", "ec2:AssociateAddress"),
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared instances and interfaces."""
        return declared_hosts(workload)

    def discover(self, target: Target) -> list[Target]:
        """Every interface: one whose address an earlier incident took must be given it back as well."""
        return interface_targets(self.access, target)

    @property
    def ec2(self) -> EC2Client:
        """The responder's way to EC2."""
        return self.access.client("ec2")

    def snapshot(self, target: Target) -> JsonObject:
        """Read which address is on which private address."""
        elastic = self._elastic(target)
        known = {each["public_ip"] for each in elastic}
        public = interface(self.access, target.ref).public_addresses
        return {"elastic": elastic, "assigned_at_launch": [each for each in public if each not in known]}

    def apply(self, target: Target, state: State) -> Change:
        """Disassociate whatever is associated now."""
        taken = self._associations(target)
        for association in taken.values():
            with already(target.ref, "InvalidAssociationID.NotFound"):
                self.ec2.disassociate_address(AssociationId=association)
        return self.done(target, state, changed=bool(taken), detached=sorted(taken))

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """No elastic address is left on the interface."""
        left = self._elastic(target)
        fixed = change.before["assigned_at_launch"]
        text = f"{len(left)} elastic addresses left" + (
            f"; {', '.join(fixed)} was assigned by EC2 and stays, as release could not give it back; "
            "closed by the security group"
            if fixed
            else ""
        )
        return (found(Method.CONFIGURATION, text, holds=not left, elastic=left, assigned_at_launch=fixed),)

    def revert(self, change: Change) -> Finding:
        """Associate each address again with the private address it was on."""
        target, wanted = change.target, change.before["elastic"]
        present = self._elastic(target)
        for each in wanted:
            if each not in present:
                with translated(each["allocation"]):
                    self.ec2.associate_address(
                        AllocationId=each["allocation"],
                        NetworkInterfaceId=target.ref,
                        PrivateIpAddress=each["private_ip"],
                        AllowReassociation=False,
                    )
        actual = self._elastic(target)
        same = actual == wanted
        text = "restored" if same else "differ from the pre-state"
        return found(Method.CONFIGURATION, f"elastic addresses {text}", holds=same, elastic=actual)

    def _elastic(self, target: Target) -> list[JsonObject]:
        with translated(target.ref):
            answer = self.ec2.describe_addresses(
                Filters=[{"Name": "network-interface-id", "Values": [target.ref]}]
            )
        found = [
            {
                "allocation": each["AllocationId"],
                "public_ip": each["PublicIp"],
                "private_ip": each.get("PrivateIpAddress", ""),
            }
            for each in answer["Addresses"]
        ]
        return sorted(found, key=lambda each: each["allocation"])

    def _associations(self, target: Target) -> dict[str, str]:
        with translated(target.ref):
            answer = self.ec2.describe_addresses(
                Filters=[{"Name": "network-interface-id", "Values": [target.ref]}]
            )
        return {
            each["PublicIp"]: each["AssociationId"] for each in answer["Addresses"] if "AssociationId" in each
        }
