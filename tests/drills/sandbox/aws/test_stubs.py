"""What the emulator lacks: the behaviour a containment depends on, and errors as AWS names them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from drills.sandbox.aws.sample.accounts import create_role
from drills.sandbox.aws.sample.artifacts import STAGES, create_artifacts
from drills.sandbox.aws.sample.clients import Admin, allow, client_with, document, session_of, trust
from drills.sandbox.aws.sample.network import create_group, create_vpc, zipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from drills.sandbox.aws.client import SandboxClient

REGION = "eu-central-1"
ROOT = {"AWS": "arn:aws:iam::222222222222:root"}
DEADLINE_SECONDS = 20


@pytest.fixture
def admin(sandbox: SandboxClient) -> Admin:
    sandbox.configure(flow_aggregation_seconds=0.5)
    return Admin.of(sandbox, "222222222222", REGION)


def code_of(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def as_role(admin: Admin, name: str, service: str, *actions: str) -> Any:
    """A client of a role that may do exactly these actions."""
    create_role(admin, name, trust(ROOT), document(allow(list(actions))))
    return client_with(admin.endpoint, REGION, service, session_of(admin, name, "tester"))


# CodePipeline


@pytest.fixture
def pipeline(admin: Admin) -> str:
    role = create_role(
        admin, "pipeline", trust({"Service": "codepipeline.amazonaws.com"}), document(allow(["s3:*"]))
    )
    action = {"category": "Deploy", "owner": "AWS", "provider": "S3", "version": "1"}
    stages = [{"name": name, "actions": [{"name": name, "actionTypeId": action}]} for name in STAGES]
    store = {"type": "S3", "location": "bucket"}
    definition = {"name": "promotion", "roleArn": role, "artifactStore": store, "stages": stages}
    admin.client("codepipeline").create_pipeline(pipeline=definition)
    return "promotion"


def stages_of(client: Any, name: str) -> dict[str, Any]:
    return {item["stageName"]: item for item in client.get_pipeline_state(name=name)["stageStates"]}


def disable(client: Any, name: str, stage: str, **changes: str) -> None:
    arguments = {"transitionType": "Inbound", "reason": "firebreak incident 1", **changes}
    client.disable_stage_transition(pipelineName=name, stageName=stage, **arguments)


def status(client: Any, name: str, execution_id: str) -> str:
    answer = client.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution_id)
    return str(answer["pipelineExecution"]["status"])


def test_execution_promotes_through_every_stage(admin: Admin, pipeline: str) -> None:
    client = admin.client("codepipeline")
    execution_id = client.start_pipeline_execution(name=pipeline)["pipelineExecutionId"]
    reached = {n: s["latestExecution"]["pipelineExecutionId"] for n, s in stages_of(client, pipeline).items()}
    assert reached == dict.fromkeys(STAGES, execution_id)
    assert status(client, pipeline, execution_id) == "Succeeded"


def test_disabled_transition_stops_promotion_and_says_who_did_it(admin: Admin, pipeline: str) -> None:
    client = admin.client("codepipeline")
    disable(client, pipeline, "Production")
    execution_id = client.start_pipeline_execution(name=pipeline)["pipelineExecutionId"]
    stages = stages_of(client, pipeline)
    state = stages["Production"]["inboundTransitionState"]
    assert (state["enabled"], state["disabledReason"]) == (False, "firebreak incident 1")
    assert state["lastChangedBy"].endswith(":user/sandbox-admin")
    assert abs(state["lastChangedAt"] - datetime.now(UTC)) < timedelta(minutes=1)
    assert "latestExecution" not in stages["Production"]
    assert stages["Production"]["inboundExecution"]["pipelineExecutionId"] == execution_id
    assert stages["Staging"]["latestExecution"]["pipelineExecutionId"] == execution_id
    assert status(client, pipeline, execution_id) == "InProgress"


def test_enabling_lets_the_newest_waiting_execution_continue(admin: Admin, pipeline: str) -> None:
    client = admin.client("codepipeline")
    disable(client, pipeline, "Production")
    first, second = (client.start_pipeline_execution(name=pipeline)["pipelineExecutionId"] for _ in range(2))
    client.enable_stage_transition(pipelineName=pipeline, stageName="Production", transitionType="Inbound")
    stages = stages_of(client, pipeline)
    assert stages["Production"]["latestExecution"]["pipelineExecutionId"] == second
    assert stages["Production"]["inboundTransitionState"]["enabled"] is True
    assert "disabledReason" not in stages["Production"]["inboundTransitionState"]
    assert (status(client, pipeline, first), status(client, pipeline, second)) == ("Superseded", "Succeeded")


def test_outbound_transition_is_the_next_stage_s_inbound(admin: Admin, pipeline: str) -> None:
    client = admin.client("codepipeline")
    disable(client, pipeline, "Source", transitionType="Outbound")
    assert stages_of(client, pipeline)["Staging"]["inboundTransitionState"]["enabled"] is False


def test_pipeline_errors(admin: Admin, pipeline: str) -> None:
    client = admin.client("codepipeline")
    assert code_of(client.get_pipeline_state, name="gone") == "PipelineNotFoundException"
    transition = {"pipelineName": pipeline, "transitionType": "Inbound"}
    change = client.disable_stage_transition
    assert code_of(change, stageName="Nowhere", reason="x", **transition) == "StageNotFoundException"
    # A colon is not in the pattern of DisabledReason.
    assert code_of(change, stageName="Staging", reason="incident: 1", **transition) == "ValidationException"


def test_stage_transition_is_authorised_on_the_stage(admin: Admin, pipeline: str) -> None:
    client = as_role(admin, "reader", "codepipeline", "codepipeline:GetPipelineState")
    client.get_pipeline_state(name=pipeline)
    with pytest.raises(ClientError, match=r"DisableStageTransition on resource: .*:promotion/Staging"):
        disable(client, pipeline, "Staging")
    assert stages_of(admin.client("codepipeline"), pipeline)["Staging"]["inboundTransitionState"]["enabled"]


# CloudTrail


def history(admin: Admin, region: str = "us-east-1") -> Any:
    """A region's event history; the one of global services unless told."""
    return client_with(admin.endpoint, region, "cloudtrail", admin.credentials)


def lookup(admin: Admin, region: str = "us-east-1", **arguments: Any) -> list[dict[str, Any]]:
    return list(history(admin, region).lookup_events(**arguments)["Events"])


def by(key: str, value: str) -> dict[str, Any]:
    return {"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]}


def test_lookup_names_the_session_the_call_was_made_with(admin: Admin) -> None:
    client = as_role(admin, "agent", "iam", "iam:ListRoles")
    client.list_roles()
    assert code_of(client.list_users) == "AccessDenied"
    events = lookup(admin, **by("Username", "tester"))
    assert [event["EventName"] for event in events] == ["ListUsers", "ListRoles"]
    record = json.loads(events[0]["CloudTrailEvent"])
    identity = record["userIdentity"]
    assert identity["type"] == "AssumedRole"
    assert identity["arn"] == "arn:aws:sts::222222222222:assumed-role/agent/tester"
    assert identity["sessionContext"]["sessionIssuer"]["arn"] == "arn:aws:iam::222222222222:role/agent"
    created = datetime.fromisoformat(identity["sessionContext"]["attributes"]["creationDate"])
    assert abs(created - datetime.now(UTC)) < timedelta(minutes=1)
    assert (record["errorCode"], record["eventSource"]) == ("AccessDenied", "iam.amazonaws.com")
    assert lookup(admin, **by("AccessKeyId", identity["accessKeyId"])) == events


def test_lookup_filters_by_name_resource_and_time(admin: Admin) -> None:
    create_role(admin, "one", trust(ROOT), document(allow(["s3:*"])))
    assert [e["EventName"] for e in lookup(admin, **by("ResourceName", "one"))] == [
        "PutRolePolicy",
        "CreateRole",
    ]
    assert len(lookup(admin, **by("EventName", "CreateRole"))) == 1
    later = datetime.now(UTC) + timedelta(hours=1)
    assert lookup(admin, StartTime=later) == []
    assert lookup(admin, EndTime=datetime.now(UTC) - timedelta(hours=1)) == []
    assert code_of(admin.client("cloudtrail").lookup_events, StartTime=later, EndTime=datetime.now(UTC)) == (
        "InvalidTimeRangeException"
    )


def test_lookup_pages_newest_first_without_gap_or_repetition(admin: Admin) -> None:
    iam = admin.client("iam")
    for number in range(55):
        iam.get_user(UserName="sandbox-admin") if number % 2 else iam.list_users()
    client = history(admin)
    first = client.lookup_events(**by("EventSource", "iam.amazonaws.com"))
    # Calls made between two pages must not shift them.
    iam.list_users()
    second = client.lookup_events(**by("EventSource", "iam.amazonaws.com"), NextToken=first["NextToken"])
    ids = [event["EventId"] for event in first["Events"] + second["Events"]]
    assert (len(first["Events"]), len(second["Events"]), len(set(ids))) == (50, 5, 55)
    assert "NextToken" not in second
    assert code_of(client.lookup_events, NextToken="nonsense") == "InvalidNextTokenException"


def test_data_events_and_other_accounts_are_not_in_the_event_history(
    sandbox: SandboxClient, admin: Admin
) -> None:
    s3 = admin.client("s3")
    s3.create_bucket(Bucket="history-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="history-bucket", Key="a", Body=b"a")
    Admin.of(sandbox, "333333333333", REGION).client("iam").list_users()
    names = [event["EventName"] for event in lookup(admin, REGION)]
    assert names == ["CreateBucket"]


def test_global_services_are_recorded_in_one_region(admin: Admin) -> None:
    """CloudTrail user guide, "CloudTrail concepts", global service events."""
    admin.client("iam").list_users()
    admin.client("sts").get_caller_identity()  # at the regional endpoint
    client_with(admin.endpoint, "us-east-1", "sts", admin.credentials).get_caller_identity()
    here = [event["EventName"] for event in lookup(admin, REGION)]
    there = lookup(admin)
    assert here == ["GetCallerIdentity"]
    assert [event["EventName"] for event in there] == ["GetCallerIdentity", "ListUsers"]
    assert {json.loads(event["CloudTrailEvent"])["awsRegion"] for event in there} == {"us-east-1"}


# Network Firewall

RULES = {"RulesSource": {"RulesString": "drop ip 10.42.1.10 any -> any any (sid:1;)"}}


def test_firewall_rule_group_needs_the_current_token_and_cuts_traffic(
    sandbox: SandboxClient, admin: Admin
) -> None:
    vpc = create_vpc(admin, "fw", "10.42.1.0/24")
    group = create_group(admin, vpc.id, "any", (443, "10.42.0.0/16"))
    ec2 = admin.client("ec2")
    eni = ec2.create_network_interface(
        SubnetId=vpc.public_subnet, Groups=[group], PrivateIpAddress="10.42.1.10"
    )["NetworkInterface"]["NetworkInterfaceId"]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(AllocationId=address, NetworkInterfaceId=eni)
    client = admin.client("network-firewall")
    policy = {"StatelessDefaultActions": ["aws:forward_to_sfe"], "StatelessFragmentDefaultActions": []}
    created = client.create_firewall_policy(FirewallPolicyName="egress", FirewallPolicy=policy)
    arn = created["FirewallPolicyResponse"]["FirewallPolicyArn"]
    client.create_firewall(
        FirewallName="fw",
        FirewallPolicyArn=arn,
        VpcId=vpc.id,
        SubnetMappings=[{"SubnetId": vpc.public_subnet}],
    )
    path = {"source": eni, "destination": "198.51.100.10", "port": 443}
    assert sandbox.request("POST", "/net/connect", path)["allowed"]
    rules = client.create_rule_group(RuleGroupName="drop", Type="STATEFUL", Capacity=10, RuleGroup=RULES)
    reference = [{"ResourceArn": rules["RuleGroupResponse"]["RuleGroupArn"]}]
    changed = {
        "FirewallPolicyArn": arn,
        "FirewallPolicy": policy | {"StatefulRuleGroupReferences": reference},
    }
    stale = client.update_firewall_policy(UpdateToken=created["UpdateToken"], **changed)
    assert sandbox.request("POST", "/net/connect", path)["reason"] == "firewall"
    assert code_of(client.update_firewall_policy, UpdateToken=created["UpdateToken"], **changed) == (
        "InvalidTokenException"
    )
    described = client.describe_firewall_policy(FirewallPolicyArn=arn)
    assert described["UpdateToken"] == stale["UpdateToken"]
    assert described["FirewallPolicy"]["StatefulRuleGroupReferences"] == reference
    assert code_of(client.delete_rule_group, RuleGroupArn=reference[0]["ResourceArn"]) == (
        "InvalidOperationException"
    )


def test_firewall_refuses_unreadable_rules_and_unknown_groups(admin: Admin) -> None:
    client = admin.client("network-firewall")
    broken = {"RulesSource": {"RulesString": "drop everything"}}
    arguments = {"RuleGroupName": "x", "Type": "STATEFUL", "Capacity": 1}
    assert code_of(client.create_rule_group, RuleGroup=broken, **arguments) == "InvalidRequestException"
    assert (
        code_of(client.describe_rule_group, RuleGroupName="x", Type="STATEFUL") == "ResourceNotFoundException"
    )
    gone = {"StatefulRuleGroupReferences": [{"ResourceArn": admin.arn("network-firewall", "gone")}]}
    policy = {"StatelessDefaultActions": [], "StatelessFragmentDefaultActions": [], **gone}
    assert code_of(client.create_firewall_policy, FirewallPolicyName="p", FirewallPolicy=policy) == (
        "InvalidRequestException"
    )


# Detective


def test_detective_is_off_until_enabled_and_then_investigates(sandbox: SandboxClient, admin: Admin) -> None:
    client = admin.client("detective")
    assert client.list_graphs()["GraphList"] == []
    arn = sandbox.request("POST", "/detective", {"account": admin.account})["graph_arn"]
    assert [graph["Arn"] for graph in client.list_graphs()["GraphList"]] == [arn]
    scope = {"ScopeStartTime": datetime.now(UTC) - timedelta(days=1), "ScopeEndTime": datetime.now(UTC)}
    role = admin.role_arn("agent")
    number = client.start_investigation(GraphArn=arn, EntityArn=role, **scope)["InvestigationId"]
    place = {"GraphArn": arn, "InvestigationId": number}
    assert client.get_investigation(**place)["Status"] == "RUNNING"
    deadline = time.monotonic() + DEADLINE_SECONDS
    while client.get_investigation(**place)["Status"] == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.1)
    found = client.get_investigation(**place)
    assert (found["Status"], found["EntityArn"], found["State"]) == ("SUCCESSFUL", role, "ACTIVE")
    assert len(client.list_investigations(GraphArn=arn)["InvestigationDetails"]) == 1
    assert code_of(client.get_investigation, GraphArn=arn, InvestigationId="9" * 21) == (
        "ResourceNotFoundException"
    )


# Security Hub


def test_finding_is_updated_and_found_by_its_id_only(admin: Admin) -> None:
    artifacts = create_artifacts(admin, "agent", admin.role_arn("peer"))
    hub = admin.client("securityhub")
    place = {"Id": artifacts.finding_id, "ProductArn": artifacts.product_arn}
    answer = hub.batch_update_findings(
        FindingIdentifiers=[place, place | {"Id": "gone"}],
        Note={"Text": "contained", "UpdatedBy": "firebreak"},
        Workflow={"Status": "NOTIFIED"},
    )
    assert answer["ProcessedFindings"] == [place]
    assert answer["UnprocessedFindings"][0]["FindingIdentifier"]["Id"] == "gone"
    equals = {"Value": artifacts.finding_id, "Comparison": "EQUALS"}
    finding = hub.get_findings(Filters={"Id": [equals]})["Findings"][0]
    assert (finding["Note"]["Text"], finding["Workflow"]["Status"]) == ("contained", "NOTIFIED")
    assert finding["Severity"]["Label"] == "HIGH"
    assert hub.get_findings(Filters={"Id": [{"Value": "gone", "Comparison": "EQUALS"}]})["Findings"] == []


# Canary function


def invoke(admin: Admin, function: str, address: str, port: int = 443) -> dict[str, Any]:
    event = json.dumps({"address": address, "port": port, "timeout": 1}).encode()
    answer = admin.client("lambda").invoke(FunctionName=function, Payload=event)
    assert answer["StatusCode"] == 200
    return dict(json.load(answer["Payload"]))


def test_canary_connects_from_its_own_interface_and_leaves_a_reject_at_the_target(admin: Admin) -> None:
    vpc = create_vpc(admin, "canary", "10.42.1.0/24")
    ec2 = admin.client("ec2")
    groups = [create_group(admin, vpc.id, "open", (443, "10.42.0.0/16")), create_group(admin, vpc.id, "shut")]
    target = ec2.create_network_interface(
        SubnetId=vpc.public_subnet, Groups=[groups[0]], PrivateIpAddress="10.42.1.10"
    )["NetworkInterface"]["NetworkInterfaceId"]
    before = invoke(admin, vpc.canary_arn, "10.42.1.10")
    assert (before["connected"], before["error"]) == (True, "")
    ec2.modify_network_interface_attribute(NetworkInterfaceId=target, Groups=[groups[1]])
    after = invoke(admin, vpc.canary_arn, "10.42.1.10")
    assert (after["connected"], after["error"]) == (False, "timeout")
    assert after["source_address"] == before["source_address"]
    enis = ec2.describe_network_interfaces()["NetworkInterfaces"]
    owners = {eni["PrivateIpAddress"]: eni["Description"] for eni in enis}
    assert owners[after["source_address"]].startswith("AWS Lambda VPC ENI-canary-firebreak-canary-")
    expected = f" {target} {after['source_address']} 10.42.1.10 {after['source_port']} 443 6 "
    deadline = time.monotonic() + DEADLINE_SECONDS
    found: list[str] = []
    while not found and time.monotonic() < deadline:
        events = admin.client("logs").filter_log_events(logGroupName="/vpc/canary/flow-logs")["events"]
        found = [e["message"] for e in events if expected in e["message"] and " REJECT " in e["message"]]
    assert found


def test_only_canaries_run_and_only_while_they_are_allowed_to(admin: Admin) -> None:
    vpc = create_vpc(admin, "canary", "10.42.1.0/24")
    client = admin.client("lambda")
    assert code_of(client.invoke, FunctionName="gone-firebreak-canary") == "ResourceNotFoundException"
    role = as_role(admin, "stranger", "lambda", "lambda:ListFunctions")
    assert code_of(role.invoke, FunctionName=vpc.canary_arn) == "AccessDeniedException"
    client.put_function_concurrency(FunctionName="canary-firebreak-canary", ReservedConcurrentExecutions=0)
    assert code_of(client.invoke, FunctionName=vpc.canary_arn) == "TooManyRequestsException"
    client.create_function(
        FunctionName="other",
        Runtime="python3.12",
        Role=admin.role_arn("canary-canary"),
        Handler="a.b",
        Code={"ZipFile": zipped("a.py", "b = None")},
    )
    with pytest.raises(ClientError, match="runs no function code"):
        client.invoke(FunctionName="other")


# Synthetic logs


def test_synthetic_group_streams_exactly_its_size_within_the_page_limit(admin: Admin) -> None:
    logs, sizes, ids = admin.client("logs"), [], set()
    token: dict[str, str] = {}
    while True:
        page = logs.filter_log_events(logGroupName="/firebreak/synthetic/3MiB", **token)
        sizes.append(sum(len(event["message"]) for event in page["events"]))
        ids |= {event["eventId"] for event in page["events"]}
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert (sum(sizes), max(sizes), len(ids)) == (3 * 2**20, 2**20, 192)


def test_synthetic_group_is_deterministic_and_honours_the_time_range(admin: Admin) -> None:
    logs = admin.client("logs")
    arguments = {"logGroupName": "/firebreak/synthetic/1MiB"}
    events = logs.filter_log_events(**arguments)["events"]
    assert logs.filter_log_events(**arguments)["events"] == events
    middle = events[32]["timestamp"]
    assert logs.filter_log_events(startTime=middle, **arguments)["events"] == events[32:]
    assert logs.filter_log_events(endTime=middle, **arguments)["events"] == events[:33]
    streamed = logs.get_log_events(logStreamName="synthetic", startFromHead=True, limit=10, **arguments)
    following = logs.get_log_events(
        logStreamName="synthetic", nextToken=streamed["nextForwardToken"], limit=10, **arguments
    )
    both = [event["message"] for event in streamed["events"] + following["events"]]
    assert both == [event["message"] for event in events[:20]]


def test_other_log_groups_are_the_emulator_s(admin: Admin) -> None:
    logs = admin.client("logs")
    logs.create_log_group(logGroupName="/real")
    now = int(time.time() * 1000)
    for stream in ("a-1", "b-1"):
        logs.create_log_stream(logGroupName="/real", logStreamName=stream)
        event = {"timestamp": now, "message": f"from {stream}"}
        logs.put_log_events(logGroupName="/real", logStreamName=stream, logEvents=[event])
    found = logs.filter_log_events(logGroupName="/real", logStreamNamePrefix="b-")["events"]
    assert [event["message"] for event in found] == ["from b-1"]
    assert logs.filter_log_events(logGroupName="/real", logStreamNamePrefix="c-")["events"] == []
    read = logs.get_log_events(logGroupName="/real", logStreamName="a-1", startFromHead=True)["events"]
    assert [event["message"] for event in read] == ["from a-1"]
    streams = logs.describe_log_streams(logGroupName="/real")["logStreams"]
    assert [item["logStreamName"] for item in streams] == ["a-1", "b-1"]
    assert code_of(logs.filter_log_events, logGroupName="/gone") == "ResourceNotFoundException"
