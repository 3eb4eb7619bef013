"""Simulate a role's or user's identity policies: IAM's SimulatePrincipalPolicy, by the sandbox's evaluator.

As on AWS without a ResourcePolicy parameter, only identity policies and the permissions boundary count
(IAM API reference, SimulatePrincipalPolicy).
"""

from __future__ import annotations

from typing import Any

from drills.sandbox.aws.credentials import Principal
from drills.sandbox.aws.iam import Check, Resource, refusal_of
from drills.sandbox.aws.identities import Entity, ledger
from drills.sandbox.aws.policy import Caller
from drills.sandbox.aws.stubs import StubError, StubRequest, stub

Json = dict[str, Any]


def _source(request: StubRequest) -> str:
    return str(request.params["PolicySourceArn"])


@stub("iam", "SimulatePrincipalPolicy", resource=_source)
def simulate_principal_policy(request: StubRequest) -> Json:
    """Say of each action and resource whether the principal's own policies allow it."""
    principal = _principal(_source(request))
    resources = request.params.get("ResourceArns") or ["*"]
    results = [_evaluate(principal, str(action), resources) for action in request.params["ActionNames"]]
    return {"EvaluationResults": results, "IsTruncated": False}


def _principal(arn: str) -> Principal:
    account, _, name = arn.split(":", 4)[4].partition(":")
    kind, _, path = name.partition("/")
    entity = Entity(account, kind, path.rpartition("/")[2])
    view = ledger.view(entity) if kind in {"role", "user"} else None
    if view is None:
        raise StubError("NoSuchEntity", f"{arn} does not exist", 404)
    role_arn = view.arn if kind == "role" else None
    return Principal(Caller(account, view.arn, view.id, role_arn), entity, view, access_key_id="")


def _evaluate(principal: Principal, action: str, resources: list[str]) -> Json:
    decisions = {arn: _decision(principal, action, arn) for arn in resources}
    refused = [decision for decision in decisions.values() if decision != "allowed"]
    return {
        "EvalActionName": action,
        "EvalResourceName": resources[0],
        "EvalDecision": refused[0] if refused else "allowed",
        "MatchedStatements": [],
        "MissingContextValues": [],
        "ResourceSpecificResults": [
            {
                "EvalResourceName": arn,
                "EvalResourceDecision": decision,
                "MatchedStatements": [],
                "MissingContextValues": [],
            }
            for arn, decision in decisions.items()
        ],
    }


def _decision(principal: Principal, action: str, arn: str) -> str:
    refusal = refusal_of(principal, Check(action, Resource(arn)), context={})
    if refusal is None:
        return "allowed"
    return "explicitDeny" if refusal.explicit else "implicitDeny"
