"""See from outside whether an interface is isolated: by canary packets and by what the flow logs say.

What neither can see is told before the first change, in the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from firebreak.declarations import of_kind
from firebreak.errors import ContainmentError, PermanentCloudError
from firebreak.measure import found, on_any
from firebreak.model import Finding, JsonObject, Method, Workload
from providers.aws.network import flowproof, flowrecords
from providers.aws.network.canary import Attempt, CanaryFunction, Reach, declared_canary
from providers.aws.network.groups import read_group
from providers.aws.network.interfaces import Interface
from providers.aws.resources import Canary, FlowLog, Subnet
from providers.aws.session import AwsAccess

CONTROL_PORTS = 3
"""How many ports the positive control tries at most."""
QUICK_INTERVAL = 60
"""The shorter of the two aggregation intervals (VPC user guide, "Create a flow log")."""
NO_CANARY = "the inventory declares no canary for this workload"
# EC2 user guide, "Security group connection tracking", "Automatically tracked connections".
STILL_TRACKED = (
    "connections through NAT gateways, load balancers, interface endpoints and transit gateways "
    "stay tracked and may go on"
)
# VPC user guide, "Network ACLs" and "Flow log limitations"; EC2 user guide, as above.
RESOLVER_OPEN = (
    "DNS through the VPC's own resolver stays open: neither security groups nor network ACLs filter it and "
    "flow logs do not show it; block it with Route 53 Resolver DNS Firewall"
)
WATCH = (
    *on_any("ec2:DescribeSecurityGroups", "lambda:InvokeFunction"),
    *flowrecords.READ_FLOW_LOGS,
)


class Watch:
    """The workload's canary and flow log, as far as they are declared."""

    def __init__(self, access: AwsAccess) -> None:
        self._access = access
        self._canary = declared_canary(access)

    def control(self, actual: Interface) -> JsonObject:
        """Try the canary before the change, and say what will not be proved, and why."""
        attempt = self._attempt(actual)
        works = [f"canary to {attempt['address']}:{attempt['port']}"] if attempt["arrived"] else []
        return {
            **attempt,
            "works": works,
            "why_not": "" if works else _why_not(attempt),
            "listed_only": [*self._log_gaps(actual), *self._limits(actual)],
        }

    def findings(self, actual: Interface, applied_at: datetime, control: JsonObject) -> tuple[Finding, ...]:
        """One more canary packet, and what the flow logs say by now."""
        return (*self._probe(actual, control), self._log_evidence(actual, applied_at, control))

    def outlived_by(self, actual: Interface) -> str:
        """What the rules of the interface's groups do not cut, for a finding about them."""
        if dedicated(self._access, actual.subnet):
            return "what stays tracked beyond the dedicated subnet is for its network ACL to cut"
        return STILL_TRACKED

    def _attempt(self, actual: Interface) -> JsonObject:
        canary = self._canary
        if canary is None:
            return {"arrived": False, "told": NO_CANARY, "missing": True}
        try:
            attempts = [
                (port, canary.try_to_reach(actual.addresses[0], port)) for port in self._ports(actual, canary)
            ]
        except ContainmentError as error:
            return {"arrived": False, "told": str(error), "missing": True, "port": canary.port}
        port, best = next((each for each in attempts if each[1].arrived), attempts[0])
        unknown = any(each.reach is Reach.UNKNOWN for _, each in attempts) and not best.arrived
        return {**best.json(actual.addresses[0], port), "missing": unknown}

    def _ports(self, actual: Interface, canary: CanaryFunction) -> list[int]:
        """The canary's port, and others that the interface's own rules let in."""
        rules = [rule for group in actual.groups for rule in read_group(self._access, group)["IpPermissions"]]
        admitted = [
            rule["FromPort"] for rule in rules if rule["IpProtocol"] == "tcp" and rule.get("FromPort", 0) > 0
        ]
        return list(dict.fromkeys([canary.port, *admitted]))[:CONTROL_PORTS]

    def _log_gaps(self, actual: Interface) -> Iterator[str]:
        """Why the flow logs will not prove it, or not in time."""
        try:
            source = flowrecords.source_of(self._access, actual)
        except PermanentCloudError as error:
            source = str(error)
        if isinstance(source, str):
            yield f"the flow logs cannot prove it: {source}"
        elif source.interval > QUICK_INTERVAL:
            yield (
                f"{source.id} aggregates over up to {source.interval} s, except on Nitro instances: "
                f"its records may come too late; set {QUICK_INTERVAL} s"
            )

    def _limits(self, actual: Interface) -> Iterator[str]:
        if not dedicated(self._access, actual.subnet):
            yield f"{STILL_TRACKED}; a network ACL cuts them where the subnet is declared as dedicated"
        yield RESOLVER_OPEN

    def _probe(self, actual: Interface, control: JsonObject) -> tuple[Finding, ...]:
        """One more canary packet; without a control it only feeds the flow logs."""
        attempt = self._send(actual, control)
        if self._canary is None or control["missing"]:
            text = f"canary not conclusive: {control['told'] if self._canary else NO_CANARY}"
            return (found(Method.LIVE_PROBE, text, holds=False, inconclusive=True),)
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

    def _send(self, actual: Interface, control: JsonObject) -> Attempt:
        if self._canary is None:
            return Attempt(Reach.UNKNOWN, NO_CANARY)
        return self._canary.try_to_reach(actual.addresses[0], control.get("port", self._canary.port))

    def _log_evidence(self, actual: Interface, applied_at: datetime, control: JsonObject) -> Finding:
        source, canary = flowrecords.source_of(self._access, actual), self._canary
        if isinstance(source, str) or canary is None:
            missing = source if isinstance(source, str) else NO_CANARY
            return found(Method.LOG_EVIDENCE, f"flow logs: {missing}", holds=False, inconclusive=True)
        known = {control.get("source_address", "")} - {""}
        isolation = flowproof.Isolation(
            interface=actual.id,
            addresses=frozenset(actual.addresses),
            applied_at=applied_at,
            canary_sources=canary.addresses() | known,
            canary_port=control.get("port", canary.port),
            interval=source.interval,
        )
        reading = flowrecords.read(self._access, source, actual.id, applied_at)
        return flowproof.judge(reading.records, isolation, unreadable=reading.unreadable)


def dedicated(access: AwsAccess, subnet: str) -> bool:
    """Whether the inventory declares a subnet as the workload's alone, so that its network ACL is closed."""
    return any(each.ref == subnet and each.dedicated for each in of_kind(access.run.workload.network, Subnet))


def places(action: str, workload: Workload) -> tuple[str, ...]:
    """The declared canary and flow log destinations that an action needs; any where none is declared."""
    if action == "lambda:InvokeFunction":
        declared = [each.ref for each in of_kind(workload.network, Canary)]
    else:
        declared = list(_log_places(action, workload))
    return tuple(declared) or ("*",)


def _why_not(attempt: JsonObject) -> str:
    if attempt["missing"]:
        return str(attempt["told"])
    return f"the canary does not arrive before the change either: {attempt['told']}"


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
