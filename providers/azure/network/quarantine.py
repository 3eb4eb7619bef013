"""Phase 2 on Azure, security groups: isolate every interface of the workload, and prove it by flow logs.

A new group takes the place of the interface's own; rules of the subnet's group stay beside it. What is
established is cut by ``flushConnection``, or by routes to nowhere where the service does not take that.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from ipaddress import ip_address

from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.azure.answers import translated
from providers.azure.network import effectiverules, flowproof, flowrecords
from providers.azure.network.blackhole import CUT_ROUTES, Blackhole
from providers.azure.network.canary import Attempt, CanaryMachine, Reach, declared_canary
from providers.azure.network.documents import NETWORK, refer, rewrite, same_or_neither
from providers.azure.network.interfaces import (
    CHANGE_INTERFACE,
    FIND_INTERFACES,
    Interface,
    declared_hosts,
    interface,
    interface_targets,
    is_running,
    public_addresses,
    require_ours_to_change,
)
from providers.azure.network.quarantinegroup import QuarantineGroup
from providers.azure.network.watcher import ASK_WATCHER, Question, Watcher
from providers.azure.session import AzureMeasure

CONTROL_PORTS = 3
"""How many ports the positive control tries at most."""
NO_CANARY = "the inventory declares no canary for this workload"
# TEST-NET-2 (RFC 5737): an address of the internet that is nobody's.
OUTSIDE = "198.51.100.10"
EPHEMERAL = 50_000
IPV4 = 4
DNS, IMDS = "168.63.129.16", "169.254.169.254"


class QuarantineNsg(AzureMeasure, cloud=Cloud.AZURE, phase=Phase.NETWORK_ISOLATE, name="quarantine-nsg"):
    """Move every interface of the workload into a group that denies everything, cutting open flows."""

    permissions = (
        *FIND_INTERFACES,
        *on_target(
            "Microsoft.Network/networkInterfaces/effectiveNetworkSecurityGroups/action",
            "Microsoft.Network/networkSecurityGroups/read",
            "Microsoft.Network/networkSecurityGroups/write",
            "Microsoft.Network/networkSecurityGroups/delete",
        ),
        *CHANGE_INTERFACE,
        *CUT_ROUTES,
        *ASK_WATCHER,
        *flowrecords.READ_FLOW_LOGS,
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared machines and interfaces."""
        return declared_hosts(workload)

    def discover(self, target: Target) -> list[Target]:
        """Every interface that the machine has now."""
        return interface_targets(self.access, target)

    def snapshot(self, target: Target) -> JsonObject:
        """Read group and routes, and see whether the canary reaches the interface."""
        actual = interface(self.access, target.ref)
        require_ours_to_change(actual)
        return {
            "group": actual.group,
            "route_tables": Blackhole(self.access, actual).before(),
            "addresses": list(actual.addresses),
            "public": public_addresses(self.access, actual),
            "control": self._control(actual),
        }

    def apply(self, target: Target, state: State) -> Change:
        """Make the group, move the interface into it, and cut what is established."""
        actual = interface(self.access, target.ref)
        group = QuarantineGroup(self.access, actual)
        ref, made = group.ensure()
        _, moved = rewrite(self.access, target.ref, lambda nic: refer(nic, "networkSecurityGroup", ref))
        flushed = group.flush(ref, again=moved)
        cut = False if flushed else self._cut_by_routes(actual)
        return self.done(target, state, changed=made or moved or cut, group=ref, flushed=flushed)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Nothing is allowed on the interface, no canary arrives, and the flow logs say so."""
        actual, watcher = interface(self.access, target.ref), Watcher(self.access)
        canary = declared_canary(self.access, watcher)
        probes = self._probe(change, canary)
        records = self._log_evidence(actual, change, canary)
        return (
            *self._rules(actual, change, canary),
            self._established(actual, change, records),
            *probes,
            records,
        )

    def revert(self, change: Change) -> Finding:
        """Put the original group and routes back, and remove ours."""
        target, before = change.target, change.before
        actual = interface(self.access, target.ref)
        routes = Blackhole(self.access, actual).revert(before["route_tables"])
        rewrite(self.access, target.ref, lambda nic: refer(nic, "networkSecurityGroup", before["group"]))
        QuarantineGroup(self.access, actual).remove(change.after["group"])
        group = interface(self.access, target.ref).group
        same = routes and same_or_neither(group, before["group"])
        text = "restored" if same else "differ from the pre-state"
        return found(
            Method.CONFIGURATION, f"security group and routes {text}", holds=same, group=group, routes=routes
        )

    def begun(self, target: Target, state: State) -> Change:
        """Our group, where it was made."""
        group = QuarantineGroup(self.access, interface(self.access, target.ref)).made()
        return self.done(target, state, changed=True, group=group)

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """Whoever else is in subnets that are declared as dedicated: their routes may be cut."""
        hole = Blackhole(self.access, interface(self.access, target.ref))
        return hole.others() if hole.possible() else ()

    def _cut_by_routes(self, actual: Interface) -> bool:
        hole = Blackhole(self.access, actual)
        return hole.apply() if actual.machine and hole.possible() else False

    def _control(self, actual: Interface) -> JsonObject:
        canary = declared_canary(self.access, Watcher(self.access))
        if canary is None:
            return {"missing": True, "told": NO_CANARY, "attempts": []}
        addresses = [actual.addresses[0], *filter(None, public_addresses(self.access, actual).values())]
        try:
            ports = self._ports(actual, canary)
            attempts = [self._reach(canary, address, ports) for address in addresses]
        except PermanentCloudError as error:
            return {"missing": True, "told": str(error), "attempts": []}
        unknown = all(each.reach is Reach.UNKNOWN for each in attempts)
        return {
            "missing": unknown,
            "told": "; ".join(f"{each.address}:{each.port} {each.told}" for each in attempts),
            "attempts": [each.json() for each in attempts],
        }

    @staticmethod
    def _reach(canary: CanaryMachine, address: str, ports: list[int]) -> Attempt:
        """The first attempt that arrives, or the first of all."""
        attempts: list[Attempt] = []
        for port in ports:
            attempts.append(canary.try_to_reach(address, port))
            if attempts[-1].arrived:
                return attempts[-1]
        return attempts[0]

    def _ports(self, actual: Interface, canary: CanaryMachine) -> list[int]:
        """The canary's port, and others that the rules in force let in."""
        admitted = effectiverules.admitted_ports(self._effective(actual))
        return list(dict.fromkeys([canary.port, *admitted]))[:CONTROL_PORTS]

    def _effective(self, actual: Interface) -> JsonObject:
        with translated(actual.id):
            return self.access.arm().post(f"{actual.id}/effectiveNetworkSecurityGroups", None, NETWORK)

    def _rules(
        self, actual: Interface, change: Change, canary: CanaryMachine | None
    ) -> tuple[Finding, Finding]:
        if not actual.machine or not is_running(self.access, actual.machine):
            raise PermanentCloudError(
                "the interface is on no running machine, so Azure tells neither rules nor flows",
                resource=actual.id,
            )
        rules = effectiverules.judge_rules(self._effective(actual), actual.id, change.after["group"])
        return rules, effectiverules.judge_flows(self._verified(actual, canary))

    def _verified(self, actual: Interface, canary: CanaryMachine | None) -> list[tuple[str, JsonObject]]:
        asked, watcher = _questions(actual, canary), Watcher(self.access)
        context = copy_context()
        with ThreadPoolExecutor(4) as pool:
            waiting = [
                (each.text, pool.submit(context.copy().run, watcher.verify_flow, each)) for each in asked
            ]
            return [(text, each.result()) for text, each in waiting]

    def _established(self, actual: Interface, change: Change, records: Finding) -> Finding:
        """How established flows are cut; where they are not, only the flow logs can say that none is left."""
        hole = Blackhole(self.access, actual)
        flushed = QuarantineGroup(self.access, actual).flushes(change.after["group"])
        routed = not flushed and hole.in_force()
        if flushed:
            text = "the service judges established flows anew (flushConnection)"
        elif routed:
            text = "the service did not take flushConnection; every route of the subnet leads nowhere"
        elif records.holds:
            text = "the service did not take flushConnection; the flow logs show that no flow is left"
        else:
            text = "the service did not take flushConnection, and routes do not cut everything"
        others = () if flushed or routed else hole.others()
        return found(
            Method.CONFIGURATION,
            f"established flows: {text}",
            holds=flushed or routed or records.holds,
            flushed=flushed,
            routed=routed,
            shared_with=list(others)[:20],
        )

    def _probe(self, change: Change, canary: CanaryMachine | None) -> tuple[Finding, ...]:
        """Canary packets to every address that was tried before, or one that only feeds the flow logs."""
        control = change.before["control"]
        if canary is None or control["missing"]:
            if canary is not None:
                canary.try_to_reach(change.before["addresses"][0], canary.port)
            text = f"canary not conclusive: {control['told'] if canary else NO_CANARY}"
            return (found(Method.LIVE_PROBE, text, holds=False, inconclusive=True),)
        attempts = [canary.try_to_reach(each["address"], each["port"]) for each in control["attempts"]]
        worked = [
            after for before, after in zip(control["attempts"], attempts, strict=True) if before["arrived"]
        ]
        return (_probe_finding(worked, control),) if worked else ()

    def _log_evidence(self, actual: Interface, change: Change, canary: CanaryMachine | None) -> Finding:
        source = flowrecords.source_of(self.access, actual)
        if isinstance(source, str) or canary is None:
            missing = source if isinstance(source, str) else NO_CANARY
            return found(Method.LOG_EVIDENCE, f"flow logs: {missing}", holds=False, inconclusive=True)
        attempts = change.before["control"]["attempts"]
        isolation = flowproof.Isolation(
            interface=actual.id,
            addresses=frozenset(actual.addresses),
            applied_at=change.applied_at,
            canary_sources=canary.addresses(),
            canary_port=attempts[0]["port"] if attempts else canary.port,
            interval=source.declared.interval_seconds,
            continues=source.declared.continues_seconds,
        )
        reading = flowrecords.read_since(self.access, source, actual.mac, change.applied_at)
        return flowproof.judge(reading, isolation)


def _probe_finding(attempts: list[Attempt], control: JsonObject) -> Finding:
    text = "; ".join(f"canary to {each.address}:{each.port} {each.told}" for each in attempts)
    return found(
        Method.LIVE_PROBE,
        text,
        holds=all(each.reach is Reach.BLOCKED for each in attempts),
        inconclusive=any(each.reach is Reach.UNKNOWN for each in attempts)
        and not any(each.arrived for each in attempts),
        before=control["attempts"],
        now=[each.json() for each in attempts],
    )


def _questions(actual: Interface, canary: CanaryMachine | None) -> list[Question]:
    """Both directions, every address, the internet, the neighbours, and the platform's own services."""
    port = canary.port if canary else 443
    near = min(canary.addresses(), default=OUTSIDE) if canary else OUTSIDE
    # Every interface has an IPv4 address, and both ends of a packet must be of one kind.
    addresses = [each for each in actual.addresses if ip_address(each).version == IPV4]
    first = addresses[0]

    def outbound(protocol: str, local: str, remote: str, remote_port: int) -> Question:
        here = (actual.machine, actual.id, "Outbound", protocol)
        return Question(*here, local, EPHEMERAL, remote, remote_port)

    def inbound(remote: str, local: str) -> Question:
        return Question(actual.machine, actual.id, "Inbound", "TCP", local, port, remote, EPHEMERAL)

    asked = [
        *(outbound("TCP", local, OUTSIDE, 443) for local in addresses),
        *(inbound(OUTSIDE, local) for local in addresses),
        outbound("TCP", first, near, port),
        inbound(near, first),
        outbound("UDP", first, DNS, 53),
        outbound("TCP", first, IMDS, 80),
    ]
    return list(dict.fromkeys(asked))
