"""Say what Firebreak's roles need, and find what the responder lacks: documents and their simulation."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from firebreak.errors import PermanentCloudError
from firebreak.measure import Measure, Permission, Scope
from firebreak.model import Cloud, JsonObject, Target, Workload
from firebreak.parallel import each_of
from firebreak.provider import Need
from firebreak.settings import Settings
from providers.aws import keys
from providers.aws.answers import translated
from providers.aws.discovery import DISCOVERY_ACTIONS
from providers.aws.documents import compact
from providers.aws.session import AwsAccess, AwsMeasure, partition

if TYPE_CHECKING:
    from types_boto3_iam.type_defs import ContextEntryTypeDef, EvaluationResultTypeDef

# IAM quotas: 6,144 characters in a managed policy, white space not counted.
POLICY_LIMIT = 6144
SIMULATE = "iam:SimulatePrincipalPolicy"
ORCHESTRATOR = "ARN of the principal that runs Firebreak's workers"
EVERYWHERE = ("*",)
KMS = "awskms:"
Grants = Mapping[str, set[str]]
"""Action to the ARNs it is needed on."""


def responder_arn(access: AwsAccess) -> str:
    """Return the ARN that ``aws:PrincipalArn`` has for the responder: its role's, or its own."""
    if access.role_arn:
        return access.role_arn
    with translated("the SDK's own credentials"):
        return principal_of(access.client("sts").get_caller_identity()["Arn"])


def principal_of(arn: str) -> str:
    """Return the role behind an assumed-role ARN; any other principal stands for itself."""
    # IAM user guide, "IAM identifiers". A role's path is not part of the session's ARN.
    match = re.match(r"^arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/", arn)
    return f"arn:{match[1]}:iam::{match[2]}:role/{match[3]}" if match else arn


def responder_arns(access: AwsAccess) -> list[str]:
    """Return the patterns of ``aws:PrincipalArn`` in the responder's requests: the role, not its session."""
    arn = responder_arn(access)
    if access.role_arn or ":role/" not in arn:
        return [arn]
    start, _, name = arn.rpartition("/")
    return [arn, f"{start}/*/{name}"]  # what principal_of makes of a session has lost the role's path


def own_principals(access: AwsAccess) -> tuple[str, ...]:
    """List the identities that Firebreak itself runs as: responder, orchestrator, evidence keeper."""
    own = (
        responder_arn(access),
        access.orchestrator_arn(),
        access.settings.evidence_of(Cloud.AWS).access.get("role_arn", ""),
    )
    return tuple(dict.fromkeys(principal_of(each) for each in own if each))


def grants(needs: Iterable[Need], workloads: Iterable[Workload]) -> dict[str, set[str]]:
    """Collect every action with the ARNs that the measures need it on."""
    found: dict[str, set[str]] = defaultdict(set)
    known = list(workloads)
    for measure, target in needs:
        owners = [each for each in known if each.account == target.account]
        for permission in _needed(measure, target):
            if permission.action.startswith(keys.PREFIX):
                continue  # on keys that only the account tells
            found[permission.action].update(_resources(measure, permission, target, owners))
    return dict(found)


def missing(access: AwsAccess, needs: Iterable[Need]) -> tuple[str, ...]:
    """Name each action that the responder may not do, as ``action on resource``."""
    principal, known = responder_arn(access), list(needs)
    if principal.endswith(":root"):
        return ()  # the account's root user is bound by no identity policy, and cannot be simulated
    questions = _by_resources(grants(known, [access.run.workload]))

    def ask(question: tuple[tuple[str, ...], list[str]]) -> list[str]:
        return _refused(access, principal, *question)

    def ask_for_key(use: tuple[Target, set[str]]) -> list[str]:
        return _refused_on_key(access, principal, *use)

    answers = each_of(ask, questions)
    if not any(answers):  # what it takes to find the keys is among these
        answers = each_of(ask_for_key, key_uses(known).items())
    return tuple(sorted({each for answer in answers for each in answer}))


def key_uses(needs: Iterable[Need]) -> dict[Target, set[str]]:
    """Collect what is asked of KMS for each target, should a customer's key encrypt it."""
    found: dict[Target, set[str]] = defaultdict(set)
    for measure, target in needs:
        actions = {each.action for each in _needed(measure, target) if each.action.startswith(keys.PREFIX)}
        if actions and keys.service_of(target):
            found[target].update(actions)
    return dict(found)


def documents(needs: Iterable[Need], workloads: Iterable[Workload], settings: Settings) -> JsonObject:
    """Write the policy documents of responder, evidence and orchestrator, and the one of discovery."""
    known, wanted = list(workloads), list(needs)
    roles = sorted({each.access["role_arn"] for each in known if each.access.get("role_arn")})
    needed = grants(wanted, known)
    needed[SIMULATE] = set(roles) or {"*"}
    evidence_role = settings.evidence_of(Cloud.AWS).access.get("role_arn", "")
    assumed = [*roles, *([evidence_role] if evidence_role else [])]
    external_ids = sorted({each.access["external_id"] for each in known if each.access.get("external_id")})
    return {
        "responder": {
            "roles": roles,
            "trust": trust(external_ids),
            "policies": pack([*_statements(needed), *keys.statements(key_uses(wanted))]),
            "must_be_trusted_by": sorted(needed.get("sts:AssumeRole", set())),
        },
        "evidence": {
            "roles": [evidence_role] if evidence_role else [],
            "trust": trust([settings.evidence_of(Cloud.AWS).access.get("external_id", "")]),
            "policies": pack(_statements(_evidence(settings))),
        },
        "orchestrator": {"policies": pack(_statements({"sts:AssumeRole": set(assumed)} if assumed else {}))},
        "discovery": {"policies": pack(_statements(_discovery()))},
    }


def trust(external_ids: Iterable[str]) -> JsonObject:
    """Write the trust policy by which the orchestrator, and nobody else, assumes a role."""
    ids = [each for each in external_ids if each]
    statement: JsonObject = {
        "Effect": "Allow",
        "Principal": {"AWS": ORCHESTRATOR},
        "Action": "sts:AssumeRole",
    }
    if ids:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": ids}}
    return {"Version": "2012-10-17", "Statement": [statement]}


def pack(statements: Iterable[JsonObject]) -> list[JsonObject]:
    """Spread statements over as few documents as IAM's size limit allows."""
    packed: list[JsonObject] = []
    for statement in statements:
        if packed:
            wider = {**packed[-1], "Statement": [*packed[-1]["Statement"], statement]}
            if len(compact(wider)) <= POLICY_LIMIT:
                packed[-1] = wider
                continue
        packed.append({"Version": "2012-10-17", "Statement": [statement]})
    return packed


def _needed(measure: type[Measure[Any]], target: Target) -> tuple[Permission, ...]:
    return measure.needed(target) if issubclass(measure, AwsMeasure) else measure.permissions


def _resources(
    measure: type[Measure[Any]], permission: Permission, target: Target, owners: Iterable[Workload]
) -> set[str]:
    if permission.scope is Scope.TARGET:
        return {arn for arn in measure.arns(target) if _belongs(permission.action, arn)}
    if not issubclass(measure, AwsMeasure):
        return set(EVERYWHERE)
    return {arn for owner in owners for arn in measure.places(permission.action, target, owner)}


def _belongs(action: str, arn: str) -> bool:
    """Tell whether IAM would ever ask for the action on such an ARN."""
    service, name = action.split(":", 1)
    owner = arn.split(":")[2] if arn.startswith("arn:") else service
    if service == "s3" and owner == "s3":
        return ("Bucket" in name or name.endswith("Configuration")) == ("/" not in arn)
    if service == owner == "sagemaker":
        return ("Group" in name) == (":model-package-group/" in arn)
    return owner == service or (service == "sts" and owner == "iam")


def _by_resources(needed: Grants) -> list[tuple[tuple[str, ...], list[str]]]:
    """Group the actions that are needed on the same ARNs."""
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for action, resources in sorted(needed.items()):
        if resources:
            groups[EVERYWHERE if "*" in resources else tuple(sorted(resources))].append(action)
    return list(groups.items())


def _statements(needed: Grants) -> Iterator[JsonObject]:
    for resources, actions in _by_resources(needed):
        for part in _parts(resources, len(compact({"Action": actions}))):
            yield {"Effect": "Allow", "Action": actions, "Resource": list(part)}


def _parts(resources: tuple[str, ...], used: int) -> Iterator[tuple[str, ...]]:
    """Cut a list of ARNs that alone would exceed a document."""
    room = POLICY_LIMIT - used - 200
    part: list[str] = []
    for each in resources:
        if part and len(compact({"": [*part, each]})) > room:
            yield tuple(part)
            part = []
        part.append(each)
    yield tuple(part)


def _refused_on_key(access: AwsAccess, principal: str, target: Target, actions: set[str]) -> list[str]:
    """What the responder may not do with a target's key; the key's own policy is not asked.

    IAM API reference, SimulatePrincipalPolicy: it takes no resource policy for a role.
    """
    try:
        key = keys.customer_key(access, target)
    except PermanentCloudError as error:
        return [f"what tells the key of {target.ref} ({error.message})"]
    context: list[ContextEntryTypeDef] = [
        {
            "ContextKeyName": "kms:ViaService",
            "ContextKeyValues": [keys.via(target)],
            "ContextKeyType": "string",
        }
    ]
    asked = sorted(actions - {keys.DESCRIBE})
    return _refused(access, principal, (key,), asked, context) if key else []


def _refused(
    access: AwsAccess,
    principal: str,
    resources: tuple[str, ...],
    actions: list[str],
    context: Sequence[ContextEntryTypeDef] = (),
) -> list[str]:
    try:
        with translated(principal):
            pages = access.client("iam").get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=principal, ActionNames=actions, ResourceArns=list(resources),
                ContextEntries=context,
            )  # fmt: skip
            return [text for page in pages for each in page["EvaluationResults"] for text in _refusals(each)]
    except PermanentCloudError as error:
        return [f"{SIMULATE} on {principal} ({error.message})"]


def _refusals(result: EvaluationResultTypeDef) -> Iterator[str]:
    action = result["EvalActionName"]
    single = result.get("ResourceSpecificResults")
    if not single:
        if result["EvalDecision"] != "allowed":
            yield f"{action} on {result.get('EvalResourceName', '*')}"
        return
    for each in single:
        if each["EvalResourceDecision"] != "allowed":
            yield f"{action} on {each['EvalResourceName']}"


def _discovery() -> Grants:
    """What it takes to read an account of which nothing is known yet."""
    return {action: set(EVERYWHERE) for action in DISCOVERY_ACTIONS}


def _partition_of(access: dict[str, str]) -> str:
    """Where the evidence account lies, as its role says, or its region."""
    role = access.get("role_arn", "")
    return role.split(":")[1] if role else partition(access.get("region", ""))


def _evidence(settings: Settings) -> Grants:
    """What the evidence role does with its store and keys."""
    # Imported when asked: they open the store's own clients, which a plan never needs.
    from providers.aws.sealing import SEAL_ACTIONS  # noqa: PLC0415
    from providers.aws.signing import SIGN_ACTIONS  # noqa: PLC0415
    from providers.aws.vault import OBJECT_ACTIONS, STORE_ACTIONS  # noqa: PLC0415

    evidence, needed = settings.evidence_of(Cloud.AWS), defaultdict[str, set[str]](set)
    place = evidence.store.removeprefix("s3://").strip("/")
    s3 = f"arn:{_partition_of(evidence.access)}:s3:::"
    signing = [each for each in (evidence.signing_key, evidence.drill_signing_key) if each.startswith(KMS)]
    sealing = [evidence.seal_key] if evidence.seal_key.startswith(KMS) else []
    wanted = (
        (STORE_ACTIONS, [f"{s3}{place.split('/')[0]}"] if place else []),
        (OBJECT_ACTIONS, [f"{s3}{place}/*"] if place else []),
        (SIGN_ACTIONS, signing),
        (SEAL_ACTIONS, sealing),
    )
    for actions, resources in wanted:
        for action in actions:
            needed[action].update(each.removeprefix(KMS) for each in resources)
    return dict(needed)
