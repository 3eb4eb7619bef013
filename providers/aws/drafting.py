"""Write down one workload proposed from AWS: where its parts are, and what its people must add."""

from __future__ import annotations

from typing import ClassVar

from firebreak import drafting
from firebreak.model import Cloud
from providers.aws.resources import KINDS


class Draft(drafting.Draft):
    """One workload in AWS as far as it is known."""

    cloud = Cloud.AWS
    kinds = KINDS
    told_apart_by: ClassVar[tuple[str, ...]] = ("stage",)

    def add_role(self, arn: str, user: str) -> None:
        """Add the role that an instance or function of this workload runs as."""
        if self.add("identities", "iam-role", arn):
            self.use("iam-role", arn, user)

    def elsewhere(self, ref: str) -> str:
        """Compare the account and the region that an ARN carries with those that are searched."""
        # ARN format: arn:partition:service:region:account-id:resource
        _, _, _, region, account, *_ = (*ref.split(":", 5), "", "", "", "")
        if not ref.startswith("arn:"):
            return ""
        if account not in {"", self.search.account}:
            return f"in account {account}"
        return f"in region {region}" if region not in {"", self.search.region} else ""

    def note_gaps(self) -> None:
        """Say what nobody but a person can know, and what was looked for and not found."""
        for arn in self.refs("identities", "iam-role"):
            self.note(f"declare probes for {arn}: cheap reads that it is allowed in peace")
        for arn in self.refs("identities", "iam-user"):
            self.note(f"declare probe_secret and probes for {arn}")
        for ref in self.refs("network", "subnet"):
            self.note(f"{ref}: set dedicated: true only where the subnet is this workload's alone")
        self.note_unsettled()
        self._note_unwatched()

    def _note_unwatched(self) -> None:
        network = self.has("network")
        if network and not self.refs("network", "flow-log"):
            self.note("no flow log found: its isolation could not be proved by flow logs")
        if network and not self.refs("network", "canary"):
            self.note("no canary found: a Lambda function named *canary*, or tagged ai-workload-role=canary")
        for arn in self.refs("network", "canary"):
            self.note(f"{arn}: set port to one that answers the canary in peace (443 is assumed)")
        if not self.refs("evidence_sources", "log-group"):
            self.note("no log group found: declare those of inference, agent and application")
