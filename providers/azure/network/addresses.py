"""Phase 2 on Azure, public addresses: take the workload's public addresses off its interfaces."""

from __future__ import annotations

from firebreak.measure import found
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.azure.network.documents import find, properties, read, refer, reference, rewrite
from providers.azure.network.interfaces import (
    CHANGE_INTERFACE,
    FIND_INTERFACES,
    declared_hosts,
    interface,
    interface_targets,
    require_ours_to_change,
)
from providers.azure.session import AzureMeasure

DYNAMIC = "dynamic"


class DetachPublicIp(AzureMeasure, cloud=Cloud.AZURE, phase=Phase.NETWORK_ISOLATE, name="detach-public-ip"):
    """Dissociate every public IP address of the workload; release gives each back to where it was.

    A dynamically allocated address would be lost with its association ("Public IP addresses", allocation
    method); it stays, is reported, and ``azure.quarantine-nsg`` closes it.
    """

    permissions = (*FIND_INTERFACES, *CHANGE_INTERFACE)

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared machines and interfaces."""
        return declared_hosts(workload)

    def discover(self, target: Target) -> list[Target]:
        """Every interface: one whose address an earlier incident took must be given it back as well."""
        return interface_targets(self.access, target)

    def snapshot(self, target: Target) -> JsonObject:
        """Read which address is on which IP configuration."""
        actual = interface(self.access, target.ref)
        if actual.public:
            require_ours_to_change(actual)
        resources = {ref: find(self.access, ref) or {} for ref in actual.public.values()}
        kept = [ref for ref, each in resources.items() if _would_be_lost(each)]
        return {
            "public": actual.public,
            "kept": kept,
            "addresses": {ref: properties(each).get("ipAddress", "") for ref, each in resources.items()},
        }

    def apply(self, target: Target, state: State) -> Change:
        """Dissociate whatever is associated now and can be given back."""
        kept, taken = state.values["kept"], []

        def edit(nic: JsonObject) -> None:
            for each in properties(nic)["ipConfigurations"]:
                ref = reference(each, "publicIPAddress")
                if ref and ref not in kept:
                    taken.append(ref)
                    refer(each, "publicIPAddress", "")

        _, changed = rewrite(self.access, target.ref, edit)
        return self.done(target, state, changed=changed, detached=sorted(set(taken)))

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """No address that could be taken is left, and none refers back to the interface."""
        kept = change.before["kept"]
        left = sorted(set(interface(self.access, target.ref).public.values()) - set(kept))
        taken = [ref for ref in change.before["public"].values() if ref not in kept]
        bound = [ref for ref in taken if self._is_on(ref, target)]
        text = f"{len(left)} public addresses left" + (
            f"; {len(kept)} dynamic ones would be lost and stay, closed by the security group" if kept else ""
        )
        return (
            found(
                Method.CONFIGURATION, text, holds=not left and not bound, left=left, bound=bound, kept=kept
            ),
        )

    def revert(self, change: Change) -> Finding:
        """Associate each address again with the IP configuration it was on."""
        target, wanted = change.target, change.before["public"]

        def edit(nic: JsonObject) -> None:
            for each in properties(nic)["ipConfigurations"]:
                if each["name"] in wanted:
                    refer(each, "publicIPAddress", wanted[each["name"]])

        rewrite(self.access, target.ref, edit)
        actual = interface(self.access, target.ref).public
        same = {name: ref.lower() for name, ref in actual.items()} == {
            name: ref.lower() for name, ref in wanted.items()
        }
        text = "restored" if same else "differ from the pre-state"
        return found(Method.CONFIGURATION, f"public addresses {text}", holds=same, public=actual)

    def _is_on(self, ref: str, target: Target) -> bool:
        """Tell whether the address itself still says that it belongs to the interface."""
        holder = reference(read(self.access, ref), "ipConfiguration")
        return holder.lower().startswith(f"{target.ref.lower()}/")


def _would_be_lost(address: JsonObject) -> bool:
    return str(properties(address).get("publicIPAllocationMethod", "")).lower() == DYNAMIC
