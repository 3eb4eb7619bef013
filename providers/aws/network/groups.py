"""Make the two security groups of a quarantine: one that allows nothing, and one that allows everything.

A group is found by its tags and judged by its rules, never by its name.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from firebreak.errors import PermanentCloudError, TransientCloudError
from providers.aws.answers import already, error_code, settling, translated
from providers.aws.session import AwsAccess

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import (
        IpPermissionOutputTypeDef,
        IpPermissionUnionTypeDef,
        SecurityGroupRuleTypeDef,
        SecurityGroupTypeDef,
    )

Purpose = Literal["quarantine", "open"]
INCIDENT_TAG = "firebreak:incident"
PURPOSE_TAG = "firebreak:purpose"
IN_USE = "DependencyViolation"
RULE_THERE = frozenset({"InvalidPermission.Duplicate"})
RULE_GONE = frozenset({"InvalidPermission.NotFound", "InvalidSecurityGroupRuleId.NotFound"})
GONE = frozenset({"InvalidGroup.NotFound", "InvalidGroupId.Malformed", "InvalidSecurityGroupID.NotFound"})
# A new group lets all traffic out (VPC user guide, "Security groups for your VPC"), IPv6 by its own rule.
_AT_FIRST: tuple[IpPermissionUnionTypeDef, ...] = (
    {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
    {"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
)
_EVERYTHING: IpPermissionUnionTypeDef = {
    "IpProtocol": "-1",
    "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
    "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
}


class QuarantineGroups:
    """The groups of one incident in one VPC."""

    def __init__(self, access: AwsAccess, vpc: str) -> None:
        self._access = access
        self._vpc = vpc

    @property
    def _ec2(self) -> EC2Client:
        return self._access.client("ec2")

    def closed(self) -> str:
        """Return the group without any rule, made if need be."""
        group = self.made() or self._create("quarantine")
        for rule in _AT_FIRST:
            # Without asking first: a reading from before the group was made would show no rule.
            with settling(group, *GONE), already(group, *RULE_GONE):
                self._ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[rule])
        return self.emptied(group)

    def made(self) -> str:
        """Return the quarantine group of this incident, empty where there is none."""
        return self._find("quarantine")

    def opened(self) -> str:
        """Return the group that allows everything both ways, made if need be."""
        group = self._find("open") or self._create("open")
        with settling(group, *GONE):
            self._allow_all(group)
        return group

    def closed_around(self, groups: tuple[str, ...]) -> str:
        """Return the quarantine group an interface is in already, from this or an earlier incident."""
        if len(groups) != 1:
            return ""
        tags = {each["Key"]: each["Value"] for each in read_group(self._access, groups[0]).get("Tags", [])}
        return groups[0] if tags.get(PURPOSE_TAG) == "quarantine" else ""

    def emptied(self, group: str) -> str:
        """Return a quarantine group after taking away any rule that it may have got."""
        with translated(group):
            self._revoke_all(group)
        return group

    def remove(self, used: str) -> None:
        """Delete the groups of this incident and of the one that made ``used``, once nothing is in them.

        None was used where isolating failed before there was one.
        """
        incidents = {self._access.run.incident_id, *(self._maker(used) if used else ())}
        groups = {*self._tagged("open", *incidents), *self._tagged("quarantine", *incidents)} - {used}
        # The one that was used goes last: it alone tells which earlier incident made the others.
        for group in (*sorted(groups), *([used] if used else [])):
            # The last interface that leaves a group deletes it.
            with already(group, IN_USE, *GONE):
                self._ec2.delete_security_group(GroupId=group)

    def _find(self, purpose: Purpose) -> str:
        found = self._tagged(purpose)
        return found[0] if found else ""

    def _maker(self, group: str) -> list[str]:
        """The incident that a group was made for; empty when the group is gone."""
        with translated(group):
            answer = self._ec2.describe_security_groups(Filters=[{"Name": "group-id", "Values": [group]}])
        tags = [tag for each in answer["SecurityGroups"] for tag in each.get("Tags", [])]
        return [tag["Value"] for tag in tags if tag["Key"] == INCIDENT_TAG]

    def _tagged(self, purpose: str, *incidents: str) -> list[str]:
        with translated(self._vpc):
            answer = self._ec2.describe_security_groups(
                Filters=[
                    {"Name": "vpc-id", "Values": [self._vpc]},
                    {
                        "Name": f"tag:{INCIDENT_TAG}",
                        "Values": list(incidents) or [self._access.run.incident_id],
                    },
                    {"Name": f"tag:{PURPOSE_TAG}", "Values": [purpose]},
                ]
            )
        return sorted(group["GroupId"] for group in answer["SecurityGroups"])

    def _create(self, purpose: Purpose) -> str:
        name = f"firebreak-{purpose}-{self._access.run.incident_id}-{self._vpc}"
        with translated(self._vpc):
            try:
                return self._create_named(name, purpose)
            except ClientError as error:
                if error_code(error) != "InvalidGroup.Duplicate":
                    raise
            # Made a moment ago for a sibling interface, or a stranger's group that took the name.
            return self._find(purpose) or self._create_named(f"{name}-{secrets.token_hex(3)}", purpose)

    def _create_named(self, name: str, purpose: Purpose) -> str:
        tags = {INCIDENT_TAG: self._access.run.incident_id, PURPOSE_TAG: purpose}
        answer = self._ec2.create_security_group(
            GroupName=name,
            Description=f"Firebreak {purpose} for incident {self._access.run.incident_id}",
            VpcId=self._vpc,
            TagSpecifications=[
                {
                    "ResourceType": "security-group",
                    "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                }
            ],
        )
        return answer["GroupId"]

    def _revoke_all(self, group: str) -> None:
        rules = self._rules(group)
        outward = [rule["SecurityGroupRuleId"] for rule in rules if rule["IsEgress"]]
        inward = [rule["SecurityGroupRuleId"] for rule in rules if not rule["IsEgress"]]
        if inward:
            with already(group, *RULE_GONE):
                self._ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=inward)
        if outward:
            with already(group, *RULE_GONE):
                self._ec2.revoke_security_group_egress(GroupId=group, SecurityGroupRuleIds=outward)
        if rules and self._rules(group):
            raise TransientCloudError("the quarantine group still has rules", resource=group)

    def _rules(self, group: str) -> list[SecurityGroupRuleTypeDef]:
        pages = self._ec2.get_paginator("describe_security_group_rules").paginate(
            Filters=[{"Name": "group-id", "Values": [group]}]
        )
        return [rule for page in pages for rule in page["SecurityGroupRules"]]

    def _allow_all(self, group: str) -> None:
        found = read_group(self._access, group)
        if not _open_to_all(found["IpPermissions"]):
            with already(group, *RULE_THERE):
                self._ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[_EVERYTHING])
        if not _open_to_all(found["IpPermissionsEgress"]):
            # A new group allows all IPv4 already (EC2 user guide, "Default security groups").
            with already(group, *RULE_THERE):
                self._ec2.authorize_security_group_egress(
                    GroupId=group,
                    IpPermissions=[{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}],
                )


def read_group(access: AwsAccess, group: str) -> SecurityGroupTypeDef:
    """Read a group with its rules."""
    with translated(group):
        answer = access.client("ec2").describe_security_groups(GroupIds=[group])
    if not answer["SecurityGroups"]:
        raise PermanentCloudError("the security group is gone", resource=group)
    return answer["SecurityGroups"][0]


def _open_to_all(rules: list[IpPermissionOutputTypeDef]) -> bool:
    wide = [rule for rule in rules if rule["IpProtocol"] == "-1"]
    v4 = any(each["CidrIp"] == "0.0.0.0/0" for rule in wide for each in rule.get("IpRanges", []))
    return v4 and any(each["CidrIpv6"] == "::/0" for rule in wide for each in rule.get("Ipv6Ranges", []))
