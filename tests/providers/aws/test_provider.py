"""The provider seam: inventory checks, least privilege generated and simulated, and the registry."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from drills.sandbox.aws.sample.clients import Admin
from firebreak.declarations import Declared, of_kind
from firebreak.errors import PermanentCloudError
from firebreak.inventory import load
from firebreak.measure import Measure, Scope, measures
from firebreak.model import Cloud, JsonObject, Phase, Workload
from firebreak.settings import Settings
from providers.aws import PROVIDER
from providers.aws.documents import compact
from providers.aws.permissions import POLICY_LIMIT, pack, principal_of, responder_arns
from providers.aws.resources import KINDS, declared

ACCOUNT, REGION = "222222222222", "eu-central-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/agent"
PROBE = {"service": "s3", "operation": "ListBuckets"}


def workload(**changes: Any) -> Workload:
    given: dict[str, Any] = {"id": "agent", "cloud": Cloud.AWS, "account": ACCOUNT, "region": REGION}
    return Workload(**{**given, **changes})


def identity(ref: str = ROLE, **more: Any) -> Any:
    return KINDS["identities"]["iam-role"].model_validate({"kind": "iam-role", "ref": ref, **more})


def test_a_sound_workload_has_no_problems() -> None:
    access = {"role_arn": f"arn:aws:iam::{ACCOUNT}:role/firebreak-responder", "external_id": "firebreak-1"}
    assert PROVIDER.check(workload(access=access, identities=(identity(),))) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"account": "12"}, "12-digit"),
        ({"region": "eu-central-9"}, "not a region"),
        ({"region": "../etc"}, "not a region"),
        ({"access": {"role": "x"}}, "access.role is not known"),
        ({"access": {"role_arn": "responder"}}, "not a role ARN"),
        ({"access": {"role_arn": "arn:aws:iam::333333333333:role/r"}}, "is in account 333333333333"),
        ({"access": {"external_id": "a b"}}, "external_id"),
        ({"identities": (identity("arn:aws:iam::333333333333:role/agent"),)}, "is in account 333333333333"),
    ],
)
def test_problems_are_named(changes: dict[str, Any], problem: str) -> None:
    assert any(problem in each for each in PROVIDER.check(workload(**changes)))


@pytest.mark.parametrize(
    ("group", "resource"),
    [
        ("identities", {"kind": "iam-role", "ref": "agent"}),
        ("identities", {"kind": "iam-role", "ref": f"{ROLE}*"}),
        (
            "identities",
            {"kind": "iam-role", "ref": ROLE, "probes": [{"service": "s3", "operation": "PutObject"}]},
        ),
        (
            "identities",
            {
                "kind": "iam-role",
                "ref": ROLE,
                "probes": [{"service": "sts", "operation": "GetCallerIdentity"}],
            },
        ),
        ("identities", {"kind": "iam-role", "ref": ROLE, "colour": "red"}),
        ("network", {"kind": "ec2-instance", "ref": "i-1234; rm -rf"}),
        ("network", {"kind": "canary", "ref": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:c", "port": 0}),
        ("network", {"kind": "flow-log", "ref": "arn:aws:s3:::UPPER"}),
        ("artifacts", {"kind": "s3-object", "ref": "arn:aws:s3:::bucket/key", "role": "secret"}),
    ],
)
def test_malformed_resources_are_refused(group: str, resource: JsonObject) -> None:
    with pytest.raises(ValidationError):
        KINDS[group][resource["kind"]].model_validate(resource)


def test_resources_survive_a_trip_without_their_classes() -> None:
    user = KINDS["identities"]["iam-user"].model_validate(
        {"kind": "iam-user", "ref": f"arn:aws:iam::{ACCOUNT}:user/u", "probes": [PROBE]}
    )
    seen = Workload.model_validate_json(workload(identities=(identity(), user)).model_dump_json())
    for kind in KINDS["identities"].values():
        (found,) = of_kind(seen.identities, kind)
        assert type(found) is kind
        assert declared(seen, kind, found.ref) == found


def test_every_kind_is_strict() -> None:
    for kinds in KINDS.values():
        for kind in kinds.values():
            assert issubclass(kind, Declared)
            assert kind.model_config.get("extra") == "forbid"


@pytest.mark.parametrize("phase", list(Phase))
def test_every_measure_explains_itself_and_declares_its_permissions(phase: Phase) -> None:
    for each in measures(Cloud.AWS, phase):
        assert (each.__doc__ or "").strip()
        assert each.permissions
        assert all(":" in permission.action for permission in each.permissions)
        assert all("*" not in permission.action for permission in each.permissions)
        assert not each.destroys_volatile


NEEDED = {
    "aws.deny-all", "aws.block-assume-role", "aws.revoke-sessions", "aws.disable-access-keys",
    "aws.quarantine-security-group", "aws.detach-public-ip", "aws.cut-queue-channels",
    "aws.network-firewall-deny", "aws.quarantine-subnet-acl",
}  # fmt: skip


def test_the_registry_has_the_first_two_phases() -> None:
    names = {
        each.name
        for phase in (Phase.IDENTITY_REVOKE, Phase.NETWORK_ISOLATE)
        for each in measures(Cloud.AWS, phase)
    }
    assert names == NEEDED


def needs_of(*workloads: Workload) -> list[tuple[type[Measure[Any]], Any]]:
    return [
        (each, target) for one in workloads for each in measures(Cloud.AWS) for target in each.applies_to(one)
    ]


@pytest.fixture(scope="module")
def sample(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """One of everything, as an inventory file declares it."""
    text = json.dumps(
        {
            "version": 1,
            "workloads": [
                {
                    "id": "sample",
                    "cloud": "aws",
                    "account": ACCOUNT,
                    "region": REGION,
                    "access": {"role_arn": world.responder, "external_id": "firebreak-tests"},
                    "identities": [
                        {"kind": "iam-role", "ref": ROLE, "probes": [PROBE]},
                        {
                            "kind": "iam-user",
                            "ref": f"arn:aws:iam::{ACCOUNT}:user/u",
                            "probe_secret": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:u-AbCdEf",
                        },
                    ],
                    "network": [
                        {"kind": "ec2-instance", "ref": "i-0123456789abcdef0"},
                        {"kind": "canary", "ref": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:canary"},
                        {"kind": "flow-log", "ref": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/vpc/flow"},
                    ],
                    "channels": [{"kind": "sqs-queue", "ref": f"arn:aws:sqs:{REGION}:{ACCOUNT}:bus"}],
                    "artifacts": [{"kind": "s3-object", "ref": "arn:aws:s3:::models/a.bin", "role": "model"}],
                    "evidence_sources": [{"kind": "cloudtrail", "ref": "account"}],
                }
            ],
        }
    )
    path = tmp_path_factory.mktemp("inventory") / "workloads.yaml"
    path.write_text(text)
    return load(path).workload("sample")


def allowed(documents: list[JsonObject]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for statement in (each for one in documents for each in one["Statement"]):
        assert statement["Effect"] == "Allow"
        for action in statement["Action"]:
            found.setdefault(action, []).extend(statement["Resource"])
    return found


def test_policies_name_exact_actions_and_resources(world: Any, sample: Workload) -> None:
    policies = PROVIDER.policies(needs_of(sample), [sample], world.settings)
    responder = allowed(policies["responder"]["policies"])
    assert not any("*" in action for action in responder)
    assert responder["iam:PutRolePolicy"] == [ROLE]
    assert responder["iam:PutUserPolicy"] == [f"arn:aws:iam::{ACCOUNT}:user/u"]
    assert responder["sts:AssumeRole"] == [ROLE]
    assert responder["lambda:InvokeFunction"] == [f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:canary"]
    assert responder["sqs:SetQueueAttributes"] == [f"arn:aws:sqs:{REGION}:{ACCOUNT}:bus"]
    assert responder["secretsmanager:GetSecretValue"] == [
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:u-AbCdEf"
    ]
    assert "iam:SimulatePrincipalPolicy" in responder
    assert "sns:SetTopicAttributes" not in responder
    everywhere = {action for action, resources in responder.items() if "*" in resources}
    declared_anywhere = {
        permission.action
        for each in measures(Cloud.AWS)
        for permission in each.permissions
        if permission.scope is Scope.ANY
    }
    assert everywhere <= declared_anywhere
    evidence = allowed(policies["evidence"]["policies"])
    assert evidence["s3:PutObject"] == [f"arn:aws:s3:::{world.bucket}/firebreak/*"]
    assert "s3:BypassGovernanceRetention" not in evidence
    orchestrator = allowed(policies["orchestrator"]["policies"])
    keeper = world.settings.evidence.access["role_arn"]
    assert orchestrator == {"sts:AssumeRole": sorted([world.responder, keeper])}
    trust = policies["responder"]["trust"]["Statement"][0]
    assert trust["Condition"]["StringEquals"]["sts:ExternalId"] == ["firebreak-tests"]


def test_the_generated_policy_is_enough_and_each_action_less_is_named(
    world: Any, sample: Workload, fresh: Any
) -> None:
    admin, name = Admin.of(world.sandbox, ACCOUNT, REGION), fresh("exact")
    iam, arn = admin.client("iam"), admin.role_arn(name)
    trusted = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"AWS": "arn:aws:iam::111111111111:user/firebreak-orchestrator"},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
    exact = sample.model_copy(update={"access": {"role_arn": arn}})
    needs = needs_of(exact)
    documents = PROVIDER.policies(needs, [exact], world.settings)["responder"]["policies"]
    attach(iam, name, documents)
    access = world.context(exact).access
    assert PROVIDER.missing_permissions(access, needs) == ()
    lesser = without(documents, "iam:PutRolePolicy")
    attach(iam, name, lesser)
    assert PROVIDER.missing_permissions(access, needs) == (f"iam:PutRolePolicy on {ROLE}",)
    attach(iam, name, without(documents, "iam:SimulatePrincipalPolicy"))
    (told,) = PROVIDER.missing_permissions(access, needs)
    assert told.startswith(f"iam:SimulatePrincipalPolicy on {arn}")


def attach(iam: Any, role: str, documents: list[JsonObject]) -> None:
    for number, each in enumerate(documents):
        iam.put_role_policy(RoleName=role, PolicyName=f"p{number}", PolicyDocument=compact(each))


def without(documents: list[JsonObject], action: str) -> list[JsonObject]:
    lesser: list[JsonObject] = json.loads(json.dumps(documents))
    for statement in (each for one in lesser for each in one["Statement"]):
        statement["Action"] = [each for each in statement["Action"] if each != action] or ["iam:GetRole"]
    return lesser


def test_documents_stay_below_iams_limit() -> None:
    statements = [
        {"Effect": "Allow", "Action": ["iam:GetRole"], "Resource": [f"{ROLE}-{n}-{'x' * 60}"]}
        for n in range(200)
    ]
    packed = pack(statements)
    assert len(packed) > 1
    assert all(len(compact(each)) <= POLICY_LIMIT for each in packed)
    assert sum(len(each["Statement"]) for each in packed) == 200


@pytest.mark.parametrize(
    ("access", "partition"),
    [
        (
            {"role_arn": "arn:aws-us-gov:iam::333333333333:role/keeper", "region": "us-gov-west-1"},
            "aws-us-gov",
        ),
        ({"region": "cn-north-1"}, "aws-cn"),
        ({}, "aws"),
    ],
)
def test_the_evidence_policy_names_the_stores_partition(access: dict[str, str], partition: str) -> None:
    store = {"store": "s3://evidence/firebreak", "access": access}
    policies = PROVIDER.policies([], [], Settings.model_validate({"evidence": store}))
    evidence = allowed(policies["evidence"]["policies"])
    assert evidence["s3:PutObject"] == [f"arn:{partition}:s3:::evidence/firebreak/*"]
    assert evidence["s3:ListBucket"] == [f"arn:{partition}:s3:::evidence"]


def test_own_principals_cover_all_three_roles(world: Any, sample: Workload) -> None:
    own = PROVIDER.own_principals(world.context(sample).access)
    assert world.responder in own
    assert world.settings.evidence.access["role_arn"] in own
    assert "arn:aws:iam::111111111111:user/firebreak-orchestrator" in own


@pytest.mark.parametrize(
    ("arn", "principal"),
    [
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/agent/session", ROLE),
        (f"arn:aws:iam::{ACCOUNT}:user/u", f"arn:aws:iam::{ACCOUNT}:user/u"),
    ],
)
def test_sessions_are_traced_to_their_role(arn: str, principal: str) -> None:
    assert principal_of(arn) == principal


@pytest.mark.parametrize(
    ("caller", "patterns"),
    [
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/agent/s", [ROLE, f"arn:aws:iam::{ACCOUNT}:role/*/agent"]),
        (f"arn:aws:iam::{ACCOUNT}:user/team/u", [f"arn:aws:iam::{ACCOUNT}:user/team/u"]),
        ("arn:aws:iam::1:role/a/declared", ["arn:aws:iam::1:role/a/declared"]),
    ],
)
def test_the_responder_is_known_with_and_without_the_path_of_its_role(
    caller: str, patterns: list[str], monkeypatch: pytest.MonkeyPatch, world: Any, sample: Workload
) -> None:
    role = caller if ":role/" in caller else ""
    access = world.context(sample.model_copy(update={"access": {"role_arn": role}})).access
    sts = SimpleNamespace(get_caller_identity=lambda: {"Arn": caller})
    monkeypatch.setattr(type(access), "client", lambda *_: sts)
    assert responder_arns(access) == patterns


def test_vault_and_signer_open_from_settings(world: Any) -> None:
    assert PROVIDER.vault(world.settings).uri("x").endswith("/firebreak/x")
    with pytest.raises(Exception, match="store"):
        PROVIDER.vault(
            world.settings.model_copy(
                update={"evidence": world.settings.evidence.model_copy(update={"store": ""})}
            )
        )


def test_unknown_measures_are_refused() -> None:
    from firebreak.measure import measure  # noqa: PLC0415

    with pytest.raises(PermanentCloudError, match="no measure"):
        measure("aws.nothing")
