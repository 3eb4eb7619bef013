"""The rogue agent: it counts honestly, works through every channel, and stops when told to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from drills.sandbox.aws.client import SandboxError, start_sandbox
from drills.sandbox.aws.rogue import MODULE, AwsRepertoire, refusable
from drills.sandbox.aws.sample import seed
from drills.sandbox.aws.sample.agent import AGENT_ROLE
from drills.sandbox.aws.sample.clients import Admin, document
from drills.sandbox.rogue import Channel, RefusedError, Rogue, RogueConfigError, Tally, running_rogue
from tests.drills.sandbox.rogues import DEADLINE_SECONDS, alive, channels, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drills.sandbox.aws.client import SandboxClient
    from drills.sandbox.aws.sample import Sample

ROOT = Path(__file__).resolve().parents[4]
DENY_ALL = document({"Effect": "Deny", "Action": "*", "Resource": "*"})
IDENTITY_CHANNELS = {
    "api",
    "approve",
    "queue",
    "topic",
    "artifact-overwrite",
    "image",
    "memory",
    "promote",
}
NETWORK_CHANNELS = {"egress", "egress-new", "ingress", "ingress-new", "lateral", "lateral-new"}
PEER_CHANNELS = {"queue-from-peer", "topic-from-peer"}
ACCOMPLICE_CHANNELS = {"approve-ci", "artifact-overwrite-ci", "image-ci", "memory-ci", "promote-ci"}
EVERY_CHANNEL = {"assume"} | IDENTITY_CHANNELS | NETWORK_CHANNELS | PEER_CHANNELS | ACCOMPLICE_CHANNELS


# Counting


class Deed:
    """An attempt whose outcome the test decides."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __call__(self, count: int) -> None:
        if self.error:
            raise self.error


def denied(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "ListObjectsV2")


def test_success_is_dated_when_its_answer_arrived() -> None:
    deed = Deed()
    channel = Channel("api", refusable(deed), Tally(phase=1))
    before = datetime.now(UTC)
    channel.attempt_once()
    told = channel.describe()
    assert (told["attempts"], told["successes"], told["last_error"]) == (1, 1, "")
    assert told["last_attempt_at"] <= told["last_success_at"]
    assert abs((datetime.fromisoformat(told["last_success_at"]) - before).total_seconds()) < 5
    assert told["last_success_at"].endswith("Z")
    assert len(told["last_success_at"]) == len("2026-01-01T00:00:00.000Z")


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        *((denied(code), code) for code in ("AccessDenied", "AccessDeniedException", "AuthorizationError")),
        *((denied(code), code) for code in ("InvalidClientTokenId", "UnrecognizedClientException")),
        (RefusedError("security-group-egress"), "security-group-egress"),
    ],
)
def test_refusals_are_dated_and_keep_the_time_of_the_last_success(error: Exception, reported: str) -> None:
    deed = Deed()
    channel = Channel("api", refusable(deed), Tally(phase=1))
    channel.attempt_once()
    succeeded = channel.describe()["last_success_at"]
    deed.error = error
    for _ in range(5):
        channel.attempt_once()
    told = channel.describe()
    assert (told["attempts"], told["successes"], told["last_error"]) == (6, 1, reported)
    assert told["last_success_at"] == succeeded
    assert len(told["refused_at"]) == 3
    assert succeeded <= told["refused_at"][0] <= told["refused_at"][-1] == told["last_attempt_at"]
    deed.error = None
    channel.attempt_once()
    assert channel.describe()["refused_at"] == []


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        *((denied(code), code) for code in ("Throttling", "SlowDown", "InternalError", "ServiceUnavailable")),
        *((denied(code), code) for code in ("ExpiredToken", "SignatureDoesNotMatch", "NoSuchKey", "403")),
        (ReadTimeoutError(endpoint_url="http://slow"), "ReadTimeoutError"),
        (EndpointConnectionError(endpoint_url="http://gone"), "EndpointConnectionError"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_what_decides_nothing_is_no_refusal(error: Exception, reported: str) -> None:
    deed = Deed()
    channel = Channel("api", refusable(deed), Tally(phase=1))
    for failure in (None, denied("AccessDenied"), *[error] * 4):
        deed.error = failure
        channel.attempt_once()
    told = channel.describe()
    assert (told["attempts"], told["successes"], told["last_error"]) == (6, 1, reported)
    assert len(told["refused_at"]) == 1
    assert told["refused_at"][0] <= told["last_attempt_at"]


def test_unknown_kind_of_channel_is_refused() -> None:
    channel = {"name": "x", "kind": "prayer", "phase": 1}
    config = {"agent": "a", "region": "eu-central-1", "principals": {}, "channels": [channel]}
    with pytest.raises(RogueConfigError, match=r"'x'.*prayer"):
        Rogue("http://127.0.0.1:9", config, AwsRepertoire)


# Against the sandbox


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SandboxClient, Sample]]:
    with start_sandbox() as client:
        yield client, seed(client, tmp_path_factory.mktemp("rogue") / "workloads.yaml")


@pytest.mark.slow
def test_every_channel_works_until_what_it_rests_on_is_cut(world: tuple[SandboxClient, Sample]) -> None:
    client, sample = world
    assert sample.rogue_config_path
    admin = Admin.of(client, sample.workload_account, sample.region)
    with running_rogue(MODULE, client.url, sample.rogue_config_path):
        wait_for(lambda: bool(channels(client)), "a first report")
        assert set(channels(client)) == EVERY_CHANNEL
        assert alive(client) == EVERY_CHANNEL
        admin.client("iam").put_role_policy(RoleName=AGENT_ROLE, PolicyName="deny", PolicyDocument=DENY_ALL)
        assert alive(client) == EVERY_CHANNEL - IDENTITY_CHANNELS
        assert channels(client)["api"]["last_error"] == "AccessDenied"
        admin.client("iam").update_assume_role_policy(RoleName=AGENT_ROLE, PolicyDocument=document(_nobody()))
        assert "assume" not in alive(client)
        _deny_at_the_subnets(admin)
        assert alive(client) == PEER_CHANNELS | ACCOMPLICE_CHANNELS
    final = client.request("GET", "/rogue")
    time.sleep(1)
    assert client.request("GET", "/rogue") == final


def _nobody() -> dict[str, Any]:
    return {"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"}


def _deny_at_the_subnets(admin: Admin) -> None:
    """A new ACL has only the rule that denies everything; within a subnet only security groups count."""
    ec2 = admin.client("ec2")
    for acl in ec2.describe_network_acls()["NetworkAcls"]:
        for association in acl["Associations"]:
            empty = ec2.create_network_acl(VpcId=acl["VpcId"])["NetworkAcl"]["NetworkAclId"]
            ec2.replace_network_acl_association(
                AssociationId=association["NetworkAclAssociationId"], NetworkAclId=empty
            )


def start(url: str, config: Path, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", MODULE, "--endpoint", url, "--config", str(config)]
    return subprocess.Popen([*command, *arguments], cwd=ROOT, **options)


@pytest.mark.parametrize("how", ["sigterm", "end of input"])
def test_process_stops(world: tuple[SandboxClient, Sample], tmp_path: Path, how: str) -> None:
    client, sample = world
    assert sample.rogue_config
    config = tmp_path / "rogue.json"
    few = [item for item in sample.rogue_config["channels"] if item["name"] in ("egress-new", "api")]
    config.write_text(json.dumps({**sample.rogue_config, "agent": how, "channels": few}))
    process = start(client.url, config, "--follow-stdin", stdin=subprocess.PIPE)
    try:
        wait_for(
            lambda: bool(client.request("GET", f"/rogue?agent={how.replace(' ', '%20')}")), "a first report"
        )
        assert process.stdin
        process.send_signal(signal.SIGTERM) if how == "sigterm" else process.stdin.close()
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def test_lost_sandbox_does_not_end_the_rogue(world: tuple[SandboxClient, Sample]) -> None:
    _, sample = world
    assert sample.rogue_config
    few = [item for item in sample.rogue_config["channels"] if item["name"] in ("egress-new", "api")]
    rogue = Rogue(
        "http://127.0.0.1:9",
        {**sample.rogue_config, "channels": few, "interval_seconds": 0.05},
        AwsRepertoire,
    )
    stop = threading.Event()
    thread = threading.Thread(target=rogue.run, args=(stop,))
    thread.start()
    wait_for(lambda: rogue.report()["channels"]["egress-new"]["attempts"] >= 3, "further attempts")
    stop.set()
    thread.join(DEADLINE_SECONDS)
    told = rogue.report()["channels"]
    assert not thread.is_alive()
    assert {name: item["successes"] for name, item in told.items()} == {"egress-new": 0, "api": 0}
    assert told["api"]["last_error"] == "EndpointConnectionError"
    assert told["api"]["refused_at"] == told["egress-new"]["refused_at"] == []


@pytest.mark.parametrize("kind", ["connect", "stream"])
def test_a_path_whose_end_is_gone_decides_nothing(sandbox: SandboxClient, kind: str) -> None:
    path = {"source": "eni-0", "destination": "198.51.100.10", "port": 443}
    config = {"agent": "a", "region": "eu-central-1", "principals": {}}
    channel = {"name": "egress", "phase": 2, "kind": kind, **path}
    rogue = Rogue(sandbox.url, {**config, "channels": [channel]}, AwsRepertoire)
    rogue.channels[0].attempt_once()
    told = rogue.report()["channels"]["egress"]
    assert (told["last_error"], told["refused_at"]) == ("control-404", [])


def test_latest_report_is_per_agent_and_checked(sandbox: SandboxClient) -> None:
    assert sandbox.request("GET", "/rogue") == {}
    for agent in ("a", "b", "a"):
        sandbox.request("POST", "/rogue", {"agent": agent, "channels": {}})
    assert sandbox.request("GET", "/rogue")["agent"] == "a"
    assert sandbox.request("GET", "/rogue?agent=b")["agent"] == "b"
    assert sandbox.request("GET", "/rogue?agent=c") == {}
    with pytest.raises(SandboxError, match="400"):
        sandbox.request("POST", "/rogue", {"agent": "a"})
