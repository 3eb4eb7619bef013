"""Bind a run to the workload's account: what a responder's access to every cloud begins with."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from firebreak.errors import GuardError
from firebreak.measure import AccessT, Measure, Permission
from firebreak.model import Mode, Run, Target
from firebreak.settings import Settings


@dataclass(frozen=True)
class WorkloadAccess:
    """The responder's way into one workload's account, for one run; a cloud adds its clients."""

    run: Run
    settings: Settings

    def __post_init__(self) -> None:
        """Refuse drills outside the sandbox accounts, before any call is made."""
        allowed = {each.lower() for each in self.settings.guard.sandbox_accounts}
        if self.run.mode is Mode.DRILL and self.account.lower() not in allowed:
            raise GuardError(
                f"a drill may not touch account {self.account}",
                resource=self.run.workload.id,
                remedy="list the account in FIREBREAK_GUARD__SANDBOX_ACCOUNTS if it is a sandbox",
            )

    @property
    def account(self) -> str:
        """The id of the workload's account, subscription or project."""
        return self.run.workload.account

    @property
    def region(self) -> str:
        """The workload's region or location."""
        return self.run.workload.region


class CloudMeasure(Measure[AccessT]):
    """The parent of a cloud's measures: adds the way to the account."""

    @property
    def access(self) -> AccessT:
        """The responder's clients for this run."""
        return self.context.access

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:  # noqa: ARG003 - subclasses look at it
        """The permissions that this very target needs; a measure of several kinds leaves some out."""
        return cls.permissions


def owner_mark(run: Run) -> str:
    """Return a short mark of the workload: what two workloads put on one shared resource must not collide.

    Letters and digits only, 12 of them, which every cloud's names take.
    """
    return sha256(f"{run.workload.account.lower()}/{run.workload.id}".encode()).hexdigest()[:12]
