"""Write down one workload proposed from Azure: where its parts are, and what its people must add."""

from __future__ import annotations

from firebreak import drafting
from firebreak.model import Cloud
from providers.azure.ids import ResourceId
from providers.azure.resources import KINDS


class Draft(drafting.Draft):
    """One workload in Azure as far as it is known."""

    cloud = Cloud.AZURE
    kinds = KINDS

    @classmethod
    def canonical(cls, ref: str) -> str:
        """Lower the case: ARM ids are compared without it (Resource Manager, "Resource naming")."""
        return ref.lower()

    def elsewhere(self, ref: str) -> str:
        """Compare the subscription that an ARM id carries with the one that is searched."""
        subscription = ResourceId.parse(ref).subscription if ref.startswith("/") else ""
        return f"in subscription {subscription}" if self._is_foreign(subscription) else ""

    def note_gaps(self) -> None:
        """Say what nobody but a person can know, and what was looked for and not found."""
        for ref in self.refs("identities", "managed-identity"):
            self.note(f"declare probes for {ref}: cheap reads that it is allowed in peace")
        for ref in self.refs("artifacts", "blob-container"):
            self.note(f"{ref}: declare its role, and the approved hashes of its blobs")
        self.note_unsettled()
        if self.has("network") and not self.refs("evidence_sources", "flow-log"):
            self.note("no virtual network flow log found: its isolation could not be proved by flow logs")
        if not self.refs("evidence_sources", "log-analytics"):
            self.note("no Log Analytics workspace found: declare that of inference, agent and application")

    def _is_foreign(self, subscription: str) -> bool:
        return subscription.lower() not in {"", self.search.account.lower()}
