"""Correct security groups of network interfaces and instances.

moto reports an interface's groups as the union with the instance's, accepts unknown groups, deletes groups in
use and lets one call move every interface of an instance. Sources: EC2 API reference, DeleteSecurityGroup,
ModifyNetworkInterfaceAttribute, ModifyInstanceAttribute and "Error codes".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance

from drills.sandbox.aws.corrections import guard
from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.stubs import StubRequest

_PRIMARY = 0


def _interface_groups(interface: Any) -> Any:
    return interface._group_set


def _instance_groups(instance: Any) -> Any:
    """Return the groups of the primary interface, which is where AWS keeps those of an instance."""
    primary = instance.__dict__.get("nics", {}).get(_PRIMARY)
    return primary._group_set if primary is not None else instance.__dict__.get("_launch_groups", [])


def _set_instance_groups(instance: Any, groups: Any) -> None:
    instance.__dict__["_launch_groups"] = groups
    primary = instance.__dict__.get("nics", {}).get(_PRIMARY)
    if primary is not None:
        primary._group_set = list(groups)


def _private_dns_name(interface: Any) -> str:
    """Name the interface by its address; ECS tasks in awsvpc mode read it and moto never sets it for them."""
    given = interface.__dict__.get("_private_dns_name")
    dashed = str(interface.private_ip_address).replace(".", "-")
    return given or f"ip-{dashed}.{interface.ec2_backend.region_name}.compute.internal"


def _set_private_dns_name(interface: Any, name: str) -> None:
    interface.__dict__["_private_dns_name"] = name


def apply() -> None:
    """Install the corrected properties."""
    NetworkInterface.group_set = property(_interface_groups)  # type: ignore[assignment]
    dns_name = property(_private_dns_name, _set_private_dns_name)
    NetworkInterface.private_dns_name = dns_name  # type: ignore[assignment]
    Instance.security_groups = property(_instance_groups, _set_instance_groups)  # type: ignore[assignment]


def _backend(request: StubRequest) -> Any:
    return ec2_backends[request.account][request.region]


def _asked_groups(request: StubRequest) -> list[str]:
    interfaces = request.params.get("NetworkInterfaces") or []
    nested = [group for interface in interfaces for group in interface.get("Groups") or []]
    return [*(request.params.get("Groups") or []), *(request.params.get("SecurityGroupIds") or []), *nested]


@guard(
    "ec2",
    "CreateNetworkInterface",
    "ModifyInstanceAttribute",
    "ModifyNetworkInterfaceAttribute",
    "RunInstances",
)
def groups_exist(request: StubRequest) -> None:
    """Refuse security groups that do not exist."""
    for group_id in _asked_groups(request):
        if _backend(request).get_security_group_from_id(group_id) is None:
            raise ApiError("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")


@guard("ec2", "ModifyInstanceAttribute")
def one_interface_only(request: StubRequest) -> None:
    """Refuse to set the groups of an instance with several interfaces."""
    if not request.params.get("Groups"):
        return
    instance_id = request.params["InstanceId"]
    if len(_backend(request).get_instance(instance_id).nics) > 1:
        message = (
            f"There are multiple interfaces attached to instance '{instance_id}'. "
            "Please specify an interface ID for the operation instead."
        )
        raise ApiError("InvalidInstanceID", message)


@guard("ec2", "DeleteSecurityGroup")
def group_unused(request: StubRequest) -> None:
    """Refuse to delete a group that an interface or another group's rule uses."""
    group_id = request.params.get("GroupId")
    if group_id and any(group_id == used for used in _used_groups(_backend(request))):
        raise ApiError("DependencyViolation", f"resource {group_id} has a dependent object")


def _used_groups(backend: Any) -> Iterator[str]:
    for interface in backend.enis.values():
        yield from (group.id for group in interface._group_set)
    for groups in backend.groups.values():
        for group in groups.values():
            yield from _referenced_groups(group)


def _referenced_groups(group: Any) -> Iterator[str]:
    for rule in [*group.ingress_rules, *group.egress_rules]:
        other = rule.source_group.get("GroupId")
        if other and other != group.id:
            yield other
