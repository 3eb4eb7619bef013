"""Serve the policy simulator, which moto lacks, from the sandbox's own evaluator.

Source: IAM API reference, SimulatePrincipalPolicy and SimulateCustomPolicy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from drills.sandbox.aws.conditions import Context
from drills.sandbox.aws.credentials import Principal
from drills.sandbox.aws.errors import ApiError
from drills.sandbox.aws.iam import Check, Resource, refusal_of
from drills.sandbox.aws.identities import Entity, View, ledger
from drills.sandbox.aws.policy import Caller
from drills.sandbox.aws.stubs import StubRequest, stub

_PAGE = 100
_KINDS = ("role", "user")


@stub("iam", "SimulatePrincipalPolicy")
def simulate_principal_policy(request: StubRequest) -> dict[str, Any]:
    """Evaluate actions against the policies attached to a user or role."""
    principal = _principal(request.params["PolicySourceArn"])
    extra = tuple(request.params.get("PolicyInputList") or ())
    view = replace(principal.view, inline=(*principal.view.inline, *extra))
    return _page(request, replace(principal, view=view))


@stub("iam", "SimulateCustomPolicy")
def simulate_custom_policy(request: StubRequest) -> dict[str, Any]:
    """Evaluate actions against the given policies alone."""
    arn = request.params.get("CallerArn") or f"arn:aws:iam::{request.account}:user/simulated"
    view = View(arn, "simulated", inline=tuple(request.params["PolicyInputList"]))
    entity = Entity(request.account, "user", "simulated")
    return _page(request, Principal(Caller(request.account, arn, "simulated"), entity, view, ""))


def _principal(arn: str) -> Principal:
    kind, _, path = arn.partition(":iam::")[2].partition(":")[2].partition("/")
    if kind not in _KINDS:
        raise ApiError("InvalidInput", f"Invalid Entity Arn: {arn} does not name a user or role")
    entity = Entity(arn.split(":")[4], kind, path.rpartition("/")[2])
    view = ledger.view(entity)
    if view is None or view.arn != arn:
        raise ApiError("NoSuchEntity", f"The entity {arn} cannot be found.", 404)
    role_arn = arn if kind == "role" else None
    return Principal(Caller(entity.account, arn, view.id, role_arn), entity, view, "")


def _page(request: StubRequest, principal: Principal) -> dict[str, Any]:
    start = int(request.params.get("Marker") or 0)
    end = start + int(request.params.get("MaxItems") or _PAGE)
    results = list(_results(request, principal))
    more = {"Marker": str(end)} if end < len(results) else {}
    return {"EvaluationResults": results[start:end], "IsTruncated": bool(more), **more}


def _results(request: StubRequest, principal: Principal) -> Iterator[dict[str, Any]]:
    context = _context(request, principal)
    for action in request.params["ActionNames"]:
        for resource in request.params.get("ResourceArns") or ["*"]:
            decision = _decision(request, principal, action, resource, context)
            yield {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": decision,
                "MatchedStatements": [],
                "MissingContextValues": [],
            }


def _decision(request: StubRequest, principal: Principal, action: str, arn: str, context: Context) -> str:
    resource = Resource(arn, None, request.params.get("ResourcePolicy"))
    refusal = refusal_of(principal, Check(action, resource), context)
    if refusal is None:
        return "allowed"
    return "explicitDeny" if refusal.explicit else "implicitDeny"


def _context(request: StubRequest, principal: Principal) -> Context:
    """Use what the caller gives: the simulator knows no request, only who would make it."""
    given = {
        entry["ContextKeyName"].lower(): tuple(entry["ContextKeyValues"])
        for entry in request.params.get("ContextEntries") or ()
    }
    known = {"aws:principalarn": (principal.view.arn,), "aws:principalaccount": (principal.caller.account,)}
    return {**known, **given}
