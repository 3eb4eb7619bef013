"""Find the workload's network interfaces and read what the network measures need of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError
from firebreak.measure import on_any
from firebreak.model import Target, Workload
from providers.aws.answers import translated
from providers.aws.resources import Ec2Instance, NetworkInterface
from providers.aws.session import AwsAccess, partition

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import FilterTypeDef, NetworkInterfaceTypeDef

FIND_INTERFACES = on_any("ec2:DescribeInstances", "ec2:DescribeNetworkInterfaces")


@dataclass(frozen=True)
class Interface:
    """One elastic network interface as it is now."""

    id: str
    vpc: str
    subnet: str
    groups: tuple[str, ...]
    addresses: tuple[str, ...]
    """Its private addresses, IPv4 first, the primary one first of all."""
    public_addresses: tuple[str, ...]
    instance: str
    requester_managed: bool
    description: str


def declared_hosts(workload: Workload) -> list[Target]:
    """List the declared instances and interfaces as targets."""
    resources = (*of_kind(workload.network, Ec2Instance), *of_kind(workload.network, NetworkInterface))
    return targets_of(workload, resources)


def interface_targets(access: AwsAccess, target: Target) -> list[Target]:
    """Replace an instance by each of its interfaces; an interface stands for itself."""
    if target.kind == "network-interface":
        return [target.model_copy(update={"parent": interface(access, target.ref).instance})]
    found = interfaces_of(access, target.ref)
    return [
        target.model_copy(update={"kind": "network-interface", "ref": each.id, "parent": target.ref})
        for each in found
    ]


def interfaces_of(access: AwsAccess, instance: str) -> list[Interface]:
    """Read every interface attached to an instance; raises PermanentCloudError for an unknown instance."""
    ec2 = access.client("ec2")
    with translated(instance):
        ec2.describe_instances(InstanceIds=[instance])
    return matching(access, "attachment.instance-id", instance)


def interface(access: AwsAccess, eni: str) -> Interface:
    """Read one interface."""
    with translated(eni):
        answer = access.client("ec2").describe_network_interfaces(NetworkInterfaceIds=[eni])
    return _interface(answer["NetworkInterfaces"][0])


def matching(access: AwsAccess, name: str, *values: str) -> list[Interface]:
    """Read every interface that an EC2 filter selects."""
    wanted: list[FilterTypeDef] = [{"Name": name, "Values": list(values)}]
    with translated(values[0]):
        pages = access.client("ec2").get_paginator("describe_network_interfaces").paginate(Filters=wanted)
        return [_interface(each) for page in pages for each in page["NetworkInterfaces"]]


def all_of(access: AwsAccess) -> list[Interface]:
    """Read every interface of the workload's declared instances and interfaces."""
    found = [
        each for target in declared_hosts(access.run.workload) for each in interface_targets(access, target)
    ]
    return [interface(access, eni) for eni in dict.fromkeys(each.ref for each in found)]


def require_ours_to_change(found: Interface) -> None:
    """Refuse an interface that only the service that made it may change."""
    # EC2 user guide, "Requester-managed network interfaces".
    if found.requester_managed:
        raise PermanentCloudError(
            f"the interface is managed by the service that created it ({found.description})",
            resource=found.id,
            remedy="contain it through that service, or declare the subnet as dedicated",
        )


def interface_arn(target: Target) -> str:
    """Return the ARN of an interface target; of any interface while only its instance is known."""
    if target.kind != "network-interface":
        return ec2_arn(target, "network-interface/*")
    return ec2_arn(target, f"network-interface/{target.ref}")


def ec2_arn(target: Target, resource: str) -> str:
    """Return the ARN of another EC2 resource in the target's account and region."""
    return f"arn:{partition(target.region)}:ec2:{target.region}:{target.account}:{resource}"


def _interface(raw: NetworkInterfaceTypeDef) -> Interface:
    private: list[Any] = sorted(
        raw.get("PrivateIpAddresses", []), key=lambda each: not each.get("Primary", False)
    )
    public = [each.get("Association", {}).get("PublicIp") for each in private]
    public.append(raw.get("Association", {}).get("PublicIp"))
    v6 = [each["Ipv6Address"] for each in raw.get("Ipv6Addresses", [])]
    return Interface(
        id=raw["NetworkInterfaceId"],
        vpc=raw["VpcId"],
        subnet=raw["SubnetId"],
        groups=tuple(sorted(group["GroupId"] for group in raw["Groups"])),
        addresses=tuple(dict.fromkeys([*(each["PrivateIpAddress"] for each in private), *v6])),
        public_addresses=tuple(dict.fromkeys(each for each in public if each)),
        instance=raw.get("Attachment", {}).get("InstanceId", ""),
        requester_managed=bool(raw.get("RequesterManaged", False)),
        description=raw.get("Description", ""),
    )
