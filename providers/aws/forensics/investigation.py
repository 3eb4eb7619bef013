"""Hand over to the investigators: Detective looks at the identities, Security Hub knows it is handled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError
from firebreak.measure import found, now, on_any
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws.answers import translated
from providers.aws.resources import Detective, IamRole, IamUser, SecurityHubFinding, declared
from providers.aws.session import AwsMeasure

if TYPE_CHECKING:
    from types_boto3_detective import DetectiveClient
    from types_boto3_securityhub import SecurityHubClient

_NOTE_LIMIT = 512  # Security Hub API reference, NoteUpdate
_UPDATED_BY = "firebreak"
_NO_GRAPH = "the account administers no Detective graph: it is not enabled, or another account has it"


class OpenInvestigation(AwsMeasure, cloud=Cloud.AWS, phase=Phase.FORENSIC_CAPTURE, name="open-investigation"):
    """Start a Detective investigation of every identity; skipped, with the reason, where it is not enabled.

    It reads what AWS has already collected and preserves nothing, so it never decides the verdict alone.
    """

    permissions = on_any(
        "detective:ListGraphs",
        "detective:ListInvestigations",
        "detective:StartInvestigation",
        "detective:GetInvestigation",
    )
    irreversible = "an investigation stays on record"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The account's behaviour graph, where the workload declares it."""
        return targets_of(workload, of_kind(workload.evidence_sources, Detective))

    def snapshot(self, target: Target) -> JsonObject:
        """Find the behaviour graph that this account administers; empty where there is none.

        A member account is told of no graph (Detective API reference, ListGraphs).
        """
        with translated("Detective"):
            graphs = self._client().list_graphs().get("GraphList", [])
        return {"graph": graphs[0]["Arn"] if graphs else ""}

    def apply(self, target: Target, state: State) -> Change:
        """Start one investigation for each identity that has none in this window."""
        graph = state.values["graph"]
        if not graph:
            return self.done(target, state, changed=False, investigations={}, skipped=_NO_GRAPH)
        started = self._started(graph)
        missing = [each for each in self._entities() if each not in started]
        for entity in missing:
            with translated(entity):
                answer = self._client().start_investigation(
                    GraphArn=graph,
                    EntityArn=entity,
                    ScopeStartTime=self.run.window_started_at,
                    ScopeEndTime=now(),
                )
            started[entity] = answer["InvestigationId"]
        return self.done(target, state, changed=bool(missing), investigations=started)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Read each investigation back; a skipped one says so and proves nothing."""
        if change.after.get("skipped"):
            return (
                found(Method.CONFIGURATION, f"skipped: {change.after['skipped']}", holds=True, skipped=True),
            )
        graph, states = change.before["graph"], {}
        for entity, investigation in change.after["investigations"].items():
            with translated(entity):
                answer = self._client().get_investigation(GraphArn=graph, InvestigationId=investigation)
            states[entity] = answer["Status"]
        missing = sorted(set(self._entities()) - set(states))
        sound = not missing and all(each in {"RUNNING", "SUCCESSFUL"} for each in states.values())
        return (
            found(
                Method.CONFIGURATION,
                f"{len(states)} investigations: {', '.join(sorted(set(states.values()))) or 'none'}",
                holds=sound,
                states=states,
                identities_without_investigation=missing,
            ),
        )

    def revert(self, change: Change) -> Finding:
        """Raise Irreversible: an investigation stays on record."""
        raise self.cannot_revert(change)

    def _client(self) -> DetectiveClient:
        return self.access.client("detective")

    def _entities(self) -> list[str]:
        identities = self.run.workload.identities
        return [each.ref for each in (*of_kind(identities, IamRole), *of_kind(identities, IamUser))]

    def _started(self, graph: str) -> dict[str, str]:
        """Investigations begun since the trigger: an earlier attempt's."""
        request: dict[str, Any] = {
            "GraphArn": graph,
            "FilterCriteria": {
                "CreatedTime": {"StartInclusive": self.run.triggered_at, "EndInclusive": now()}
            },
        }
        wanted, started = set(self._entities()), dict[str, str]()
        while True:  # the SDK has no paginator for it
            with translated(graph):
                answer = self._client().list_investigations(**request)
            for each in answer.get("InvestigationDetails", []):
                if each["EntityArn"] in wanted:
                    started[each["EntityArn"]] = each["InvestigationId"]
            if not answer.get("NextToken"):
                return started
            request["NextToken"] = answer["NextToken"]


class UpdateSecurityFinding(
    AwsMeasure, cloud=Cloud.AWS, phase=Phase.FORENSIC_CAPTURE, name="update-security-finding"
):
    """Set the Security Hub finding to NOTIFIED, with a note that names the incident."""

    permissions = on_any("securityhub:GetFindings", "securityhub:BatchUpdateFindings")
    irreversible = "the finding keeps the record of how it was handled"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared finding."""
        return targets_of(workload, of_kind(workload.evidence_sources, SecurityHubFinding))

    def snapshot(self, target: Target) -> JsonObject:
        """Read workflow status and note; raises PermanentCloudError when there is no such finding."""
        current = self._current(target)
        note = current.get("Note", {})
        return {
            "status": current.get("Workflow", {}).get("Status", "NEW"),
            "note": note.get("Text", ""),
            "note_by": note.get("UpdatedBy", ""),
        }

    def apply(self, target: Target, state: State) -> Change:
        """Write status and note, unless they are there."""
        now_there = self.snapshot(target)
        if now_there["status"] == "NOTIFIED" and now_there["note"] == self._note():
            return self.done(target, state, changed=False)
        with translated(target.ref):
            answer = self._client().batch_update_findings(
                FindingIdentifiers=[{"Id": target.ref, "ProductArn": self._product(target)}],
                Note={"Text": self._note(), "UpdatedBy": _UPDATED_BY},
                Workflow={"Status": "NOTIFIED"},
            )
        for each in answer.get("UnprocessedFindings", []):
            raise PermanentCloudError(f"Security Hub: {each.get('ErrorMessage', '')}", resource=target.ref)
        return self.done(target, state, changed=True)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Read status and note back."""
        current = self.snapshot(target)
        right = current["status"] == "NOTIFIED" and current["note"] == self._note()
        return (found(Method.CONFIGURATION, f"workflow status {current['status']}", holds=right),)

    def revert(self, change: Change) -> Finding:
        """Raise Irreversible: the finding keeps the record."""
        raise self.cannot_revert(change)

    def _client(self) -> SecurityHubClient:
        return self.access.client("securityhub")

    def _note(self) -> str:
        return f"Contained by Firebreak, incident {self.run.incident_id}"[:_NOTE_LIMIT]

    def _product(self, target: Target) -> str:
        resource = declared(self.run.workload, SecurityHubFinding, target.ref)
        return resource.product_arn if resource else ""

    def _current(self, target: Target) -> Any:
        with translated(target.ref):
            findings = self._client().get_findings(
                Filters={
                    "Id": [{"Value": target.ref, "Comparison": "EQUALS"}],
                    "ProductArn": [{"Value": self._product(target), "Comparison": "EQUALS"}],
                }
            )["Findings"]
        if not findings:
            raise PermanentCloudError(
                "Security Hub has no such finding", resource=target.ref, remedy="correct the inventory"
            )
        return findings[0]
