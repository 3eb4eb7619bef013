"""Sessions: who the responder is, where it may act, and how errors are told apart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.model import ServiceModel

from firebreak.errors import GuardError, PermanentCloudError, TransientCloudError
from firebreak.measure import now
from firebreak.model import Cloud, Mode, Run, Workload
from firebreak.settings import GuardSettings, Settings
from providers.aws.answers import translate, translated
from providers.aws.session import AwsAccess, partition, role_client

ACCOUNT = "222222222222"


def client_error(code: str, status: int) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "what the service said"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "PutRolePolicy")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, PermanentCloudError),
        ("UnauthorizedOperation", 403, PermanentCloudError),
        ("NoSuchEntity", 404, PermanentCloudError),
        ("ValidationError", 400, PermanentCloudError),
        ("Throttling", 400, TransientCloudError),
        ("RequestLimitExceeded", 503, TransientCloudError),
        ("ConcurrentModification", 409, TransientCloudError),
        ("InvalidTokenException", 400, TransientCloudError),
        ("ExpiredToken", 403, TransientCloudError),
        ("Whatever", 500, TransientCloudError),
        ("Whatever", 429, TransientCloudError),
    ],
)
def test_retrying_is_decided_by_code_and_status(code: str, status: int, kind: type[Exception]) -> None:
    error = translate(client_error(code, status), "arn:aws:iam::222222222222:role/agent")
    assert type(error) is kind
    assert "PutRolePolicy" in str(error)
    assert "arn:aws:iam::222222222222:role/agent" in str(error)


def test_a_denied_responder_is_told_what_to_do() -> None:
    assert "firebreak permissions --cloud aws" in str(translate(client_error("AccessDenied", 403), "x"))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (EndpointConnectionError(endpoint_url="https://x"), TransientCloudError),
        (ReadTimeoutError(endpoint_url="https://x"), TransientCloudError),
        (NoCredentialsError(), PermanentCloudError),
        (ParamValidationError(report="bad"), PermanentCloudError),
    ],
)
def test_the_sdks_own_errors_are_translated(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind), translated("x"):
        raise error


def access_to(world: Any, incident: str, **changes: Any) -> AwsAccess:
    workload = world.workload().model_copy(update=changes)
    run = Run(incident_id=incident, mode=Mode.LIVE, workload=workload, triggered_at=now())
    return AwsAccess(run, world.settings)


def test_every_call_carries_its_incident(world: Any, fresh: Any) -> None:
    names = [fresh("INC") for _ in range(4)]
    since = world.sandbox.calls().next

    def call(name: str) -> None:
        for _ in range(3):
            access_to(world, name).client("iam").list_roles()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, names))
    calls = [each for each in world.sandbox.calls(since).calls if each["operation"] == "ListRoles"]
    seen = [each["principal_arn"].rsplit("/", 1)[1] for each in calls]
    assert sorted(seen) == sorted(f"firebreak-{name}" for name in names for _ in range(3))
    assumed = [each for each in world.sandbox.calls(since).calls if each["operation"] == "AssumeRole"]
    assert len(assumed) == 4


def test_clients_are_shared_between_runs(world: Any, fresh: Any) -> None:
    one, other = (access_to(world, fresh("INC")) for _ in range(2))
    assert one.client("iam") is other.client("iam")
    assert id(one.client("iam")) != id(one.client("ec2"))


def test_a_session_in_another_account_is_refused(world: Any, fresh: Any) -> None:
    with pytest.raises(GuardError, match="wrong account"):
        access_to(world, fresh("INC"), account="999999999999").client("iam")


def test_the_sdks_own_credentials_serve_without_a_role(world: Any, fresh: Any) -> None:
    own = access_to(world, fresh("INC"), access={}, account="111111111111")
    assert own.client("sts").get_caller_identity()["Account"] == "111111111111"
    with pytest.raises(GuardError, match="wrong account"):
        access_to(world, fresh("INC"), access={}).client("sts")


def test_a_wrong_external_id_is_a_permanent_error(world: Any, fresh: Any) -> None:
    access = {"role_arn": world.responder, "external_id": "not-it"}
    with pytest.raises(PermanentCloudError, match="AssumeRole"):
        access_to(world, fresh("INC"), access=access).client("iam")


def test_role_clients_act_as_the_role(world: Any) -> None:
    keeper = world.settings.evidence.access
    client = role_client("sts", keeper["region"], arn=keeper["role_arn"], external_id=keeper["external_id"])
    assert client.get_caller_identity()["Arn"].endswith("assumed-role/firebreak-evidence/firebreak-evidence")


@pytest.mark.parametrize(("listed", "refused"), [((), True), ((ACCOUNT,), False), (("1" * 12,), True)])
def test_drills_stay_in_sandbox_accounts(listed: tuple[str, ...], refused: bool) -> None:
    workload = Workload(id="agent", cloud=Cloud.AWS, account=ACCOUNT, region="eu-central-1")
    run = Run(incident_id="INC-1", mode=Mode.DRILL, workload=workload, triggered_at=now())
    settings = Settings(guard=GuardSettings(sandbox_accounts=listed))
    if refused:
        with pytest.raises(GuardError, match="a drill may not touch account"):
            AwsAccess(run, settings)
    else:
        assert AwsAccess(run, settings).account == ACCOUNT


@pytest.mark.parametrize(
    ("region", "name"),
    [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_partitions(region: str, name: str) -> None:
    assert partition(region) == name


@pytest.mark.parametrize("service", ["ec2", "s3", "sagemaker"])
def test_a_service_model_has_lost_nothing_but_its_documentation(service: str) -> None:
    ours, theirs = model_of(role_client(service, "eu-west-1", arn="")), model_of(shipped(service))
    assert sorted(ours.shape_names) == sorted(theirs.shape_names)
    asked, told = ours.client_context_parameters, theirs.client_context_parameters
    assert [(each.name, each.type) for each in asked] == [(each.name, each.type) for each in told]
    for name in theirs.shape_names:
        ours_shape, shape = ours.shape_for(name), theirs.shape_for(name)
        assert ours_shape.documentation == ""
        assert (ours_shape.type_name, ours_shape.metadata) == (shape.type_name, shape.metadata)
        members = getattr(shape, "members", {})
        assert list(getattr(ours_shape, "members", {})) == list(members)


def shipped(service: str) -> Any:
    return botocore.session.Session().create_client(service, region_name="eu-west-1")


def model_of(client: Any) -> ServiceModel:
    model: ServiceModel = client.meta.service_model
    return model
