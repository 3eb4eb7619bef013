"""Serve Amazon Detective graphs and investigations; no account has it enabled unless a test says so."""

from __future__ import annotations

import hashlib
import itertools
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from drills.sandbox.aws.control import ControlRequest, route
from drills.sandbox.aws.state import DEFAULT_REGION, on_reset
from drills.sandbox.aws.stubs import StubError, StubRequest, stub

SERVICE = "detective"
PAGE = 100  # Detective API reference, ListInvestigations, MaxResults
# Real investigations take minutes; a sandbox one is seen running once and then done.
RUNNING_SECONDS = 0.5
Json = dict[str, Any]


@dataclass
class Investigation:
    """One investigation of a graph."""

    id: str
    entity_arn: str
    scope_start: Any
    scope_end: Any
    state: str = "ACTIVE"
    started: float = field(default_factory=time.monotonic)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def summary(self) -> Json:
        """Return the members every answer shares."""
        running = time.monotonic() - self.started < RUNNING_SECONDS
        return {
            "InvestigationId": self.id,
            "EntityArn": self.entity_arn,
            "EntityType": "IAM_ROLE" if ":role/" in self.entity_arn else "IAM_USER",
            "CreatedTime": self.created_at,
            "Status": "RUNNING" if running else "SUCCESSFUL",
            "State": self.state,
            **({} if running else {"Severity": "HIGH"}),
        }


@dataclass
class Graph:
    """A behavior graph with its investigations."""

    arn: str
    created_at: datetime
    investigations: dict[str, Investigation] = field(default_factory=dict)


graphs: dict[tuple[str, str], Graph] = {}
_numbers = itertools.count(1)
on_reset(graphs.clear)


def enable(account: str, region: str) -> Graph:
    """Enable Detective in an account and region."""
    # 32 hexadecimal digits, the GraphArn pattern of the service model.
    digest = hashlib.sha256(f"{account}/{region}".encode()).hexdigest()[:32]
    arn = f"arn:aws:detective:{region}:{account}:graph:{digest}"
    return graphs.setdefault((account, region), Graph(arn, datetime.now(UTC)))


@route("POST", "/detective")
def control(request: ControlRequest) -> Json:
    """Enable or disable Detective in an account."""
    account, region = str(request.body["account"]), str(request.body.get("region", DEFAULT_REGION))
    if request.body.get("enabled", True):
        return {"graph_arn": enable(account, region).arn}
    graphs.pop((account, region), None)
    return {}


def _graph_resource(request: StubRequest) -> str:
    return str(request.params.get("GraphArn", "*"))


def _graph(request: StubRequest) -> Graph:
    graph = graphs.get((request.account, request.region))
    if graph is None or graph.arn != request.params["GraphArn"]:
        raise StubError("ResourceNotFoundException", "The specified behavior graph does not exist.", 404)
    return graph


def _investigation(request: StubRequest) -> Investigation:
    investigation = _graph(request).investigations.get(request.params["InvestigationId"])
    if investigation is None:
        raise StubError("ResourceNotFoundException", "The specified investigation does not exist.", 404)
    return investigation


@stub(SERVICE, "ListGraphs")
def list_graphs(request: StubRequest) -> Json:
    """List the graphs that this account administers."""
    graph = graphs.get((request.account, request.region))
    return {"GraphList": [{"Arn": graph.arn, "CreatedTime": graph.created_at}] if graph else []}


@stub(SERVICE, "StartInvestigation", resource=_graph_resource)
def start_investigation(request: StubRequest) -> Json:
    """Start an investigation of a role or user."""
    graph, params = _graph(request), request.params
    number = f"{next(_numbers):021d}"  # 21 digits, the InvestigationId pattern of the service model
    graph.investigations[number] = Investigation(
        number, params["EntityArn"], params["ScopeStartTime"], params["ScopeEndTime"]
    )
    return {"InvestigationId": number}


@stub(SERVICE, "GetInvestigation", resource=_graph_resource)
def get_investigation(request: StubRequest) -> Json:
    """Return one investigation."""
    investigation = _investigation(request)
    return investigation.summary() | {
        "GraphArn": request.params["GraphArn"],
        "ScopeStartTime": investigation.scope_start,
        "ScopeEndTime": investigation.scope_end,
    }


@stub(SERVICE, "ListInvestigations", resource=_graph_resource)
def list_investigations(request: StubRequest) -> Json:
    """List the investigations of a graph, a page at a time."""
    wanted = (request.params.get("FilterCriteria") or {}).get("EntityArn", {}).get("Value")
    found = _graph(request).investigations.values()
    chosen = [item.summary() for item in found if wanted in (None, item.entity_arn)]
    start, size = int(request.params.get("NextToken") or 0), int(request.params.get("MaxResults") or PAGE)
    answer: Json = {"InvestigationDetails": chosen[start : start + size]}
    if len(chosen) > start + size:
        answer["NextToken"] = str(start + size)
    return answer


@stub(SERVICE, "UpdateInvestigationState", resource=_graph_resource)
def update_investigation_state(request: StubRequest) -> Json:
    """Archive or reactivate an investigation."""
    _investigation(request).state = request.params["State"]
    return {}
