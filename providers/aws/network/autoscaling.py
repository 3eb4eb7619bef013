"""Keep an Auto Scaling group from ending an isolated instance, which looks unhealthy to it.

Ending the instance would destroy memory and disks before they are captured.
"""

from __future__ import annotations

from typing import Any

from firebreak.measure import on_any
from firebreak.model import JsonObject
from providers.aws.answers import translated
from providers.aws.session import AwsAccess

HOLD_INSTANCE = on_any(
    "autoscaling:DescribeAutoScalingInstances",
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:SetInstanceProtection",
    "autoscaling:SuspendProcesses",
    "autoscaling:ResumeProcesses",
)
# Auto Scaling user guide, "Suspend and resume processes": ReplaceUnhealthy ends and replaces an instance,
# Terminate scales in.
PROCESSES = ("ReplaceUnhealthy", "Terminate")


def membership(access: AwsAccess, instance: str) -> JsonObject:
    """Read the group of an instance with what will be changed; empty for an instance of no group."""
    if not instance:
        return {}
    client: Any = access.client("autoscaling")
    with translated(instance):
        found = client.describe_auto_scaling_instances(InstanceIds=[instance])["AutoScalingInstances"]
        if not found:
            return {}
        name = found[0]["AutoScalingGroupName"]
        group = client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]
    return {
        "group": name,
        "protected": bool(found[0].get("ProtectedFromScaleIn", False)),
        "suspended": sorted(each["ProcessName"] for each in group.get("SuspendedProcesses", [])),
    }


def hold(access: AwsAccess, instance: str, before: JsonObject) -> bool:
    """Protect the instance and stop the group from ending it; True when anything was changed."""
    if not before:
        return False
    current = membership(access, instance)
    if not current:
        return False  # the group let go of the instance meanwhile
    client: Any = access.client("autoscaling")
    missing = [each for each in PROCESSES if each not in current["suspended"]]
    with translated(current["group"]):
        if missing:
            client.suspend_processes(AutoScalingGroupName=current["group"], ScalingProcesses=missing)
        if not current["protected"]:
            _protect(client, instance, current["group"], protected=True)
    return bool(missing) or not current["protected"]


def let_go(access: AwsAccess, instance: str, before: JsonObject) -> None:
    """Give the group back what it could do before."""
    current = membership(access, instance) if before else {}
    if not current or current["group"] != before["group"]:
        return
    client: Any = access.client("autoscaling")
    ours = [each for each in PROCESSES if each not in before["suspended"] and each in current["suspended"]]
    with translated(current["group"]):
        if current["protected"] and not before["protected"]:
            _protect(client, instance, current["group"], protected=False)
        if ours:
            client.resume_processes(AutoScalingGroupName=current["group"], ScalingProcesses=ours)


def _protect(client: Any, instance: str, group: str, *, protected: bool) -> None:
    client.set_instance_protection(
        InstanceIds=[instance], AutoScalingGroupName=group, ProtectedFromScaleIn=protected
    )
