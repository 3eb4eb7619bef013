"""Hand over to the investigators: a Microsoft Sentinel incident that says what happened and where to look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from firebreak.declarations import of_kind, targets_of
from firebreak.measure import found, now, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.session import owner_mark
from providers.azure.answers import RestError, error_code, translated
from providers.azure.existence import existing
from providers.azure.forensics.workloadlogs import WORKSPACE, WORKSPACE_VERSION
from providers.azure.resources.evidence import LogAnalytics, Sentinel
from providers.azure.resources.identities import ManagedIdentity, ServicePrincipal
from providers.azure.session import AzureMeasure

_VERSION = "2024-09-01"
"""api-version of ``Microsoft.SecurityInsights``."""
_PROVIDER = "Microsoft.SecurityInsights"
_COMMENT_LIMIT = 30_000  # Microsoft Sentinel REST API, "Incident Comments"
_LABEL = "firebreak"
# What Azure answers where the solution is not on the workspace, or the provider not registered.
_ABSENT = frozenset({"MissingSubscriptionRegistration", "WorkspaceNotOnboarded", "BadRequest"})


class OpenInvestigation(
    AzureMeasure, cloud=Cloud.AZURE, phase=Phase.FORENSIC_CAPTURE, name="open-investigation"
):
    """Open a Sentinel incident with comment and bookmarks; skipped, with the reason, where it is not enabled.

    It points at what Azure has collected already and preserves nothing: it never decides the verdict alone.
    """

    permissions = on_target(
        "Microsoft.OperationalInsights/workspaces/read",
        f"{_PROVIDER}/onboardingStates/read",
        f"{_PROVIDER}/incidents/read",
        f"{_PROVIDER}/incidents/write",
        f"{_PROVIDER}/incidents/comments/read",
        f"{_PROVIDER}/incidents/comments/write",
        f"{_PROVIDER}/incidents/relations/read",
        f"{_PROVIDER}/incidents/relations/write",
        f"{_PROVIDER}/bookmarks/read",
        f"{_PROVIDER}/bookmarks/write",
    )
    irreversible = "an investigation stays on record"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared Sentinel workspace."""
        return targets_of(workload, of_kind(workload.evidence_sources, Sentinel))

    def discover(self, target: Target) -> list[Target]:
        """The workspace; raises AbsentError where it does not exist: that is not "not enabled"."""
        existing(self.access, target.ref, WORKSPACE_VERSION, WORKSPACE)
        return [target]

    def snapshot(self, target: Target) -> JsonObject:
        """Ask whether Sentinel is on the workspace."""
        try:
            state = self.access.arm().get(self._at(target, "onboardingStates/default"), _VERSION)
        except RestError as error:
            if error_code(error) not in _ABSENT:
                with translated(target.ref):
                    raise
            state = None
        return {"enabled": state is not None}

    def apply(self, target: Target, state: State) -> Change:
        """Write what is not there yet: incident, comment, bookmarks, and the relations between them."""
        if not state.values["enabled"]:
            return self.done(target, state, changed=False, skipped="Sentinel is not enabled")
        missing = [place for place in self._documents(target) if self._read(place) is None]
        documents = self._documents(target)
        for place in missing:
            with translated(place):
                self.access.arm().put(place, documents[place], _VERSION)
        return self.done(target, state, changed=bool(missing), incident=self._incident(target))

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Read everything back; a skipped investigation says so and proves nothing."""
        if change.after.get("skipped"):
            return (
                found(Method.CONFIGURATION, f"skipped: {change.after['skipped']}", holds=True, skipped=True),
            )
        documents = self._documents(target)
        missing = [place for place in documents if self._read(place) is None]
        incident = self._read(self._incident(target)) or {}
        properties = incident.get("properties", {})
        number = properties.get("incidentNumber", "?")
        return (
            found(
                Method.CONFIGURATION,
                f"Sentinel incident {number}: {len(documents) - len(missing)} of {len(documents)} records",
                holds=not missing,
                incident=properties.get("incidentUrl", self._incident(target)),
                status=properties.get("status", ""),
                missing=missing,
            ),
        )

    def revert(self, change: Change) -> Finding:
        """Raise Irreversible: an investigation stays on record."""
        raise self.cannot_revert(change)

    def _read(self, place: str) -> JsonObject | None:
        with translated(place):
            return self.access.arm().get(place, _VERSION)

    def _at(self, target: Target, path: str) -> str:
        return f"{target.ref}/providers/{_PROVIDER}/{path}"

    def _guid(self, what: str) -> str:
        """A name that every attempt of this incident gives to the same thing."""
        return str(uuid5(NAMESPACE_URL, f"firebreak:{self.run.incident_id}/{owner_mark(self.run)}/{what}"))

    def _incident(self, target: Target) -> str:
        return self._at(target, f"incidents/{self._guid('incident')}")

    def _documents(self, target: Target) -> dict[str, JsonObject]:
        """Every record by its id, in the order in which they are to be written."""
        incident = self._incident(target)
        documents = {
            incident: {"properties": self._described()},
            f"{incident}/comments/{self._guid('comment')}": {"properties": {"message": self._comment()}},
        }
        for title, query in self._questions():
            bookmark = self._at(target, f"bookmarks/{self._guid(title)}")
            documents[bookmark] = {"properties": self._bookmark(title, query)}
            relation = f"{incident}/relations/{self._guid(f'relation {title}')}"
            documents[relation] = {"properties": {"relatedResourceId": bookmark}}
        return documents

    def _described(self) -> JsonObject:
        return {
            "title": f"AI workload {self.run.workload.id} contained: {self.run.incident_id}",
            "description": "Contained by Firebreak. Evidence and the custody log are in the evidence store.",
            "severity": "High",
            "status": "Active",
            "labels": [{"labelName": _LABEL}, {"labelName": self.run.incident_id}],
        }

    def _comment(self) -> str:
        workload = self.run.workload
        lines = [
            f"Firebreak incident {self.run.incident_id}, {self.run.mode.value}.",
            f"Triggered at {_utc(self.run.triggered_at)}.",
            f"Evidence from {_utc(self.run.window_started_at)} on.",
            f"Workload {workload.id} in subscription {workload.account}:",
            *(f"- {each.kind} {each.ref}" for each in workload.resources()),
        ]
        return "\n".join(lines)[:_COMMENT_LIMIT]

    def _questions(self) -> Iterator[tuple[str, str]]:
        """Where an investigator looks first; only ids that the inventory has checked go into a query."""
        identities = self.run.workload.identities
        for managed in of_kind(identities, ManagedIdentity):
            yield f"Acts of {managed.principal_id}", _acts_of(managed.principal_id, managed.client_id)
        for principal in of_kind(identities, ServicePrincipal):
            yield f"Acts of {principal.ref}", _acts_of(principal.ref, principal.client_id)
        for workspace in of_kind(self.run.workload.evidence_sources, LogAnalytics):
            for table in workspace.tables:
                yield f"Workload log {table}", table

    def _bookmark(self, title: str, query: str) -> JsonObject:
        return {
            "displayName": f"{self.run.incident_id}: {title}",
            "query": query,
            "queryStartTime": _utc(self.run.window_started_at),
            "queryEndTime": _utc(now()),
            "labels": [_LABEL, self.run.incident_id],
            "notes": "Look at this first.",
        }


def _acts_of(object_id: str, client_id: str) -> str:
    return f'AzureActivity | where Caller in~ ("{object_id}", "{client_id}") | order by TimeGenerated asc'


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
