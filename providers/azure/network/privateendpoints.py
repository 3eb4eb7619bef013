"""Phase 2 on Azure, private endpoints: let security groups and routes apply to them.

They are ignored for traffic to private endpoints unless the endpoint's subnet says otherwise ("Manage network
policies for private endpoints"), which leaves platform services within the workload's reach.
"""

from __future__ import annotations

from firebreak.declarations import of_kind, targets_of
from firebreak.measure import found, on_any
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.azure.ids import ResourceId, same
from providers.azure.network.documents import properties, read, reference, rewrite
from providers.azure.network.marks import USE_TAGS, Marks
from providers.azure.resources.network import PrivateEndpoint
from providers.azure.session import AzureMeasure

POLICIES = "privateEndpointNetworkPolicies"
ENABLED, DISABLED = "Enabled", "Disabled"


class PrivateEndpointPolicies(
    AzureMeasure, cloud=Cloud.AZURE, phase=Phase.NETWORK_ISOLATE, name="private-endpoint-policies"
):
    """Make security groups and routes apply to the private endpoints of the workload's subnets."""

    permissions = (
        *on_any(
            "Microsoft.Network/privateEndpoints/read",
            "Microsoft.Network/virtualNetworks/subnets/read",
            "Microsoft.Network/virtualNetworks/subnets/write",
            "Microsoft.Network/networkSecurityGroups/join/action",
            "Microsoft.Network/routeTables/join/action",
            "Microsoft.Network/natGateways/join/action",
            "Microsoft.Network/serviceEndpointPolicies/join/action",
        ),
        *USE_TAGS,
    )

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared private endpoints."""
        return targets_of(workload, of_kind(workload.network, PrivateEndpoint))

    def discover(self, target: Target) -> list[Target]:
        """The subnet that the endpoint is in: the policies are the subnet's."""
        if target.kind == "subnet":
            return [target]
        subnet = reference(read(self.access, target.ref), "subnet")
        return [target.model_copy(update={"kind": "subnet", "ref": subnet})]

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """Every other private endpoint in the subnet."""
        mine = [each.ref for each in of_kind(self.run.workload.network, PrivateEndpoint)]
        endpoints = properties(read(self.access, target.ref)).get("privateEndpoints") or ()
        return tuple(each["id"] for each in endpoints if not any(same(each["id"], one) for one in mine))

    def snapshot(self, target: Target) -> JsonObject:
        """Read the policies as they were before any workload changed them."""
        return {"policies": self._marks(target).original(self._policies(target))}

    def apply(self, target: Target, state: State) -> Change:
        """Mark the subnet as changed by this workload, and enable the policies."""
        marked = self._marks(target).add(state.values["policies"])

        def edit(subnet: JsonObject) -> None:
            if _is_not(subnet, ENABLED):
                subnet["properties"][POLICIES] = ENABLED

        _, changed = rewrite(self.access, target.ref, edit)
        return self.done(target, state, changed=changed or marked)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The subnet says that the policies apply."""
        actual = self._policies(target)
        text = f"network policies of private endpoints are {actual}"
        return (found(Method.EFFECTIVE_POLICY, text, holds=actual == ENABLED, policies=actual),)

    def revert(self, change: Change) -> Finding:
        """Restore the policies, unless another contained workload still needs them."""
        target, wanted = change.target, change.before["policies"]
        if not self._marks(target).remove():
            text = "kept: another contained workload needs the network policies"
            return found(Method.CONFIGURATION, text, holds=True, policies=self._policies(target))

        def edit(subnet: JsonObject) -> None:
            if _is_not(subnet, wanted):
                subnet["properties"][POLICIES] = wanted

        rewrite(self.access, target.ref, edit)
        actual = self._policies(target)
        text = "restored" if actual == wanted else "differ from the pre-state"
        return found(
            Method.CONFIGURATION, f"network policies {text}", holds=actual == wanted, policies=actual
        )

    def _policies(self, target: Target) -> str:
        return str(properties(read(self.access, target.ref)).get(POLICIES) or DISABLED)

    def _marks(self, target: Target) -> Marks:
        """A subnet carries no tags, so its virtual network does."""
        return Marks(self.access, str(ResourceId.parse(target.ref).parent), target.ref)


def _is_not(subnet: JsonObject, policies: str) -> bool:
    return str(properties(subnet).get(POLICIES) or DISABLED) != policies
