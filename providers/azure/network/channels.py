"""Phase 2 on Azure, inter-agent channels: nothing is sent to queues and topics, no event wakes an agent.

Reaching a namespace or being called by Event Grid needs no network path of the workload, so security groups
do not cut it.
"""

from __future__ import annotations

from typing import Any, Protocol

from firebreak.declarations import of_kind, targets_of
from firebreak.measure import Permission, found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.session import owner_mark
from providers.azure.answers import translated
from providers.azure.ids import ResourceId
from providers.azure.network.documents import properties, read
from providers.azure.network.marks import USE_TAGS, Marks
from providers.azure.resources.declared import declared
from providers.azure.resources.network import EventGridSubscription, ServiceBusQueue, ServiceBusTopic
from providers.azure.session import AzureAccess, AzureMeasure

BUS, GRID = "2024-01-01", "2025-02-15"
"""api-versions of Microsoft.ServiceBus and Microsoft.EventGrid."""
ACTIVE = "Active"
QUEUE = (
    *on_target("Microsoft.ServiceBus/namespaces/queues/read", "Microsoft.ServiceBus/namespaces/queues/write"),
    *USE_TAGS,
)
TOPIC = (
    *on_target("Microsoft.ServiceBus/namespaces/topics/read", "Microsoft.ServiceBus/namespaces/topics/write"),
    *USE_TAGS,
)
SUBSCRIPTION = on_target(
    "Microsoft.EventGrid/eventSubscriptions/read", "Microsoft.EventGrid/eventSubscriptions/write"
)
NEEDED = {"service-bus-queue": QUEUE, "service-bus-topic": TOPIC, "event-grid-subscription": SUBSCRIPTION}


class Channel(Protocol):
    """What cutting one kind of channel takes."""

    def before(self) -> JsonObject:
        """Read what release restores."""

    def cut(self, before: JsonObject) -> bool:
        """Cut the channel; True when anything was changed."""

    def observe(self) -> Finding:
        """See whether it is cut."""

    def restore(self, before: JsonObject) -> Finding:
        """Take our cut away and prove it."""


class CutChannels(AzureMeasure, cloud=Cloud.AZURE, phase=Phase.NETWORK_ISOLATE, name="cut-channels"):
    """Disable sending to the workload's queues and topics, and let no event through its subscriptions.

    Events that come in meanwhile are dropped for the subscription, as its filter says; Event Grid cannot
    hold them back.
    """

    permissions = tuple(dict.fromkeys((*QUEUE, *TOPIC, *SUBSCRIPTION)))

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared queues, topics and event subscriptions."""
        resources = (
            *of_kind(workload.channels, ServiceBusQueue),
            *of_kind(workload.channels, ServiceBusTopic),
            *of_kind(workload.channels, EventGridSubscription),
        )
        return targets_of(workload, resources)

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:
        """What the target's own service asks for."""
        return NEEDED[target.kind]

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """The others that the inventory says use the channel, which has to be there."""
        self._channel(target).before()
        return next((each.shared_with for each in self.run.workload.channels if each.ref == target.ref), ())

    def snapshot(self, target: Target) -> JsonObject:
        """Read the status of the entity, or the filter of the subscription."""
        return self._channel(target).before()

    def apply(self, target: Target, state: State) -> Change:
        """Cut the channel."""
        changed = self._channel(target).cut(state.values)
        return self.done(target, state, changed=changed)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The service itself says that nothing goes through."""
        return (self._channel(target).observe(),)

    def revert(self, change: Change) -> Finding:
        """Give the channel back, unless another contained workload still has it cut."""
        return self._channel(change.target).restore(change.before)

    def _channel(self, target: Target) -> Channel:
        if target.kind == "event-grid-subscription":
            return EventSubscription(self.access, target.ref)
        queue = declared(self.run.workload, ServiceBusQueue, target.ref)
        known = queue or declared(self.run.workload, ServiceBusTopic, target.ref)
        return BusEntity(self.access, target.ref, known.cut if known else "SendDisabled")


class BusEntity:
    """A Service Bus queue or topic: its status says who may use it.

    ("Suspend and reactivate messaging entities": SendDisabled stops senders, Disabled everybody.)
    """

    def __init__(self, access: AzureAccess, ref: str, wanted: str) -> None:
        self._access = access
        self._ref = ref
        self._wanted = wanted
        # An entity carries no tags, so its namespace does.
        self._marks = Marks(access, str(ResourceId.parse(ref).parent), ref)

    def before(self) -> JsonObject:
        """Read the status as it was before any workload changed it."""
        return {"status": self._marks.original(self._status())}

    def cut(self, before: JsonObject) -> bool:
        """Mark the entity as cut by this workload, and close it."""
        marked = self._marks.add(before["status"])
        return self._set(self._stricter(self._status())) or marked

    def observe(self) -> Finding:
        """See what the service says of the entity."""
        status = self._status()
        closed = status in ("Disabled", self._wanted)
        return found(Method.EFFECTIVE_POLICY, f"the entity's status is {status}", holds=closed, status=status)

    def restore(self, before: JsonObject) -> Finding:
        """Restore the status once no contained workload has the entity cut."""
        if not self._marks.remove():
            text = "kept: another contained workload has it cut"
            return found(Method.CONFIGURATION, text, holds=True, status=self._status())
        self._set(before["status"])
        status = self._status()
        same = status == before["status"]
        text = "restored" if same else "differs from the pre-state"
        return found(Method.CONFIGURATION, f"the entity's status {text}", holds=same, status=status)

    def _stricter(self, status: str) -> str:
        """Never open what is closed further: another workload, or the owner, may want it so."""
        return "Disabled" if status in ("Disabled", "ReceiveDisabled") else self._wanted

    def _status(self) -> str:
        return str(properties(read(self._access, self._ref, BUS)).get("status") or ACTIVE)

    def _set(self, status: str) -> bool:
        """Write the entity whole: Service Bus knows no other change, and no ETag."""
        current = read(self._access, self._ref, BUS)
        if str(properties(current).get("status") or ACTIVE) == status:
            return False
        body = {"properties": {**_settable(properties(current)), "status": status}}
        with translated(self._ref):
            self._access.arm().put(self._ref, body, BUS)
        return True


class EventSubscription:
    """An event subscription: two contradicting filters of ours let no event through.

    ("Event filtering for Event Grid subscriptions": all advanced filters have to match.) Deleting it would
    lose the secrets of its destination, which cannot be read back.
    """

    def __init__(self, access: AzureAccess, ref: str) -> None:
        self._access = access
        self._ref = ref
        value = f"firebreak-{owner_mark(access.run)}"
        self._ours: list[JsonObject] = [
            {"operatorType": operator, "key": "subject", "values": [value]}
            for operator in ("StringIn", "StringNotIn")
        ]

    def before(self) -> JsonObject:
        """Read the filter without what this workload put there."""
        return {"filter": self._without_ours(self._filter())}

    def cut(self, before: JsonObject) -> bool:
        """Add the two filters to those that are there."""
        current = self._filter()
        if self._is_cut(current):
            return False
        others = self._without_ours(current)
        self._write({**others, "advancedFilters": [*(others.get("advancedFilters") or ()), *self._ours]})
        return True

    def observe(self) -> Finding:
        """See whether the filter lets nothing through."""
        current = self._filter()
        cut = self._is_cut(current)
        text = "lets no event through" if cut else "lets events through"
        return found(Method.EFFECTIVE_POLICY, f"the subscription's filter {text}", holds=cut, filter=current)

    def restore(self, before: JsonObject) -> Finding:
        """Take our filters out; what others changed meanwhile stays."""
        current = self._filter()
        wanted = self._without_ours(current)
        if wanted != current:
            self._write(wanted)
        actual = self._filter()
        same = actual == wanted
        text = "restored" if actual == before["filter"] else "is without ours"
        return found(Method.CONFIGURATION, f"the subscription's filter {text}", holds=same, filter=actual)

    def _filter(self) -> JsonObject:
        """The filter, without the parts that filter nothing."""
        present: JsonObject = properties(read(self._access, self._ref, GRID)).get("filter") or {}
        return {name: value for name, value in present.items() if value not in (None, [], "")}

    def _write(self, wanted: JsonObject) -> None:
        with translated(self._ref):
            self._access.arm().patch(self._ref, {"filter": wanted}, GRID)

    def _is_cut(self, current: JsonObject) -> bool:
        present = current.get("advancedFilters") or ()
        return all(each in present for each in self._ours)

    def _without_ours(self, current: JsonObject) -> JsonObject:
        kept: list[Any] = [each for each in current.get("advancedFilters", ()) if each not in self._ours]
        others = {name: value for name, value in current.items() if name != "advancedFilters"}
        return {**others, "advancedFilters": kept} if kept else others


# What the service alone sets ("Queues - Create Or Update", "Topics - Create Or Update").
_READ_ONLY = frozenset(
    {
        "accessedAt",
        "countDetails",
        "createdAt",
        "messageCount",
        "sizeInBytes",
        "subscriptionCount",
        "updatedAt",
    }
)


def _settable(values: JsonObject) -> JsonObject:
    return {name: value for name, value in values.items() if name not in _READ_ONLY}
