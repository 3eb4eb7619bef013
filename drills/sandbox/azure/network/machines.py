"""Play virtual machines as far as their network and power state go.

Source: Compute REST, "Virtual Machines". Interfaces cannot leave a running machine ("Add network interfaces
to or remove from virtual machines").
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from drills.sandbox.azure import clock, ids, lro
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.generic import resource_type
from drills.sandbox.azure.msi import assign_system_identity
from drills.sandbox.azure.network import topology
from drills.sandbox.azure.store import store
from drills.sandbox.azure.table import operation

if TYPE_CHECKING:
    from drills.sandbox.azure.call import Answer, Call
    from drills.sandbox.azure.store import Item

Json = dict[str, Any]
MACHINES = "Microsoft.Compute/virtualMachines"
VERSIONS = ("2024-03-01", "2024-07-01", "2024-11-01", "2025-04-01", "2026-04-01")
SOURCE = "Compute REST API, Virtual Machines"
MACHINE = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{MACHINES}/{{name}}"
POWER = {
    "start": topology.RUNNING,
    "restart": topology.RUNNING,
    "powerOff": "PowerState/stopped",
    "deallocate": "PowerState/deallocated",
}


def interfaces_of(machine: Item) -> list[str]:
    """Return the ids of a machine's interfaces, the primary one first."""
    listed = machine.properties.get("networkProfile", {}).get("networkInterfaces", [])
    ordered = sorted(listed, key=lambda each: not (each.get("properties") or {}).get("primary", False))
    return [each["id"] for each in ordered]


def power_of(machine: Item) -> str:
    """Return a machine's power state."""
    return str(machine.extra.get("power", topology.RUNNING))


def _put(_call: Call, item: Item, before: Item | None) -> None:
    assign_system_identity(item)
    item.properties.setdefault("vmId", str(uuid.uuid4()))
    item.properties.setdefault("timeCreated", clock.stamp())
    item.extra.setdefault("power", topology.RUNNING)
    now = {ids.key(each) for each in interfaces_of(item)}
    then = {ids.key(each) for each in interfaces_of(before)} if before else set()
    if before is not None and then - now and power_of(item) == topology.RUNNING:
        message = f"Network interfaces cannot be removed from VM '{item.name}' while it is running."
        raise ArmError(409, "OperationNotAllowed", message)
    for nic_id in now:
        nic = store.need(nic_id)
        holder = topology.referenced(nic.properties, "virtualMachine")
        if holder is not None and ids.key(holder.id) != ids.key(item.id):
            raise ArmError(400, "NicInUse", f"Network interface {nic.name} is used by {holder.id}.")
        nic.properties["virtualMachine"] = {"id": item.id}
    _release(then - now)


def _delete(_call: Call, item: Item) -> None:
    _release({ids.key(each) for each in interfaces_of(item)})


def _release(nic_ids: set[str]) -> None:
    for each in nic_ids:
        nic = store.get(each)
        if nic is not None:
            nic.properties.pop("virtualMachine", None)


@operation(
    "arm", "GET", f"{MACHINE}/instanceView", versions=VERSIONS, action=f"{MACHINES}/instanceView/read",
    source=SOURCE,
)  # fmt: skip
def instance_view(call: Call) -> Json:
    """Show a machine's power state."""
    machine = store.need(call.path.rsplit("/", 1)[0])
    statuses = [{"code": "ProvisioningState/succeeded"}, {"code": power_of(machine)}]
    return {"statuses": [{**each, "level": "Info"} for each in statuses]}


def _power(verb: str, state: str) -> None:
    @operation(
        "arm", "POST", f"{MACHINE}/{verb}", versions=VERSIONS, action=f"{MACHINES}/{verb}/action",
        source=SOURCE,
    )  # fmt: skip
    def change(call: Call) -> Answer:
        machine = store.need(call.resource_id)

        def finish() -> None:
            machine.extra["power"] = state

        return lro.accept(call, machine.id, finish)


for _verb, _state in POWER.items():
    _power(_verb, _state)

resource_type(
    MACHINES,
    versions=VERSIONS,
    source=SOURCE,
    asynchronous=True,
    on_put=_put,
    on_delete=_delete,
    needs_location=True,
)
