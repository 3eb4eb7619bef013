"""Propose an inventory from what an account's resources are tagged with, without changing anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from firebreak.discovery import drafts_of, is_wanted, note_shared, own_run, proposal_of
from firebreak.model import Cloud, JsonObject
from firebreak.provider import Proposal, Search
from firebreak.settings import Settings
from providers.aws import arnkinds
from providers.aws.answers import already, translated
from providers.aws.drafting import Draft
from providers.aws.session import AwsAccess, partition

DISCOVERY_ACTIONS = (
    "codepipeline:GetPipeline",
    "detective:ListGraphs",
    "ec2:DescribeFlowLogs",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ecr:DescribeImages",
    "iam:GetInstanceProfile",
    "iam:ListRoleTags",
    "iam:ListRoles",
    "iam:ListUserTags",
    "iam:ListUsers",
    "lambda:GetFunctionConfiguration",
    "network-firewall:DescribeFirewall",
    "sagemaker:ListModelPackages",
    "tag:GetResources",
)
"""What the role that discovers must be allowed, on everything: what it will find is not known before."""

ROLE_TAG = "ai-workload-role"
CANARY = "canary"
# IAM user guide, "Service-linked roles" and IAM Identity Center's roles: the account's owner cannot tag them.
UNTAGGABLE = ("/aws-service-role/", "/aws-reserved/")
READS_AT_ONCE = 8
# EC2 API reference, DescribeInstances: a filter takes at most 200 values.
FILTER_VALUES = 200
GONE = {"terminated", "shutting-down"}


@dataclass(frozen=True)
class Tagged:
    """A resource that carries the tag."""

    arn: str
    tags: Mapping[str, str]


def discover(search: Search, settings: Settings) -> Proposal:
    """Read the account and propose its workloads; every call only reads."""
    access = AwsAccess(own_run(search, Cloud.AWS), settings)
    by_value: dict[str, list[Tagged]] = defaultdict(list)
    for each in (*_resources(access, search), *_principals(access, search)):
        by_value[each.tags[search.tag]].append(each)
    drafts = drafts_of(Draft, by_value, search)
    for value, draft in drafts.items():
        _Explorer(access, draft).explore(by_value[value])
    note_shared(drafts.values(), "iam-role", "role", "scope it with session_names")
    return proposal_of(drafts.values())


def _resources(access: AwsAccess, search: Search) -> Iterator[Tagged]:
    """Everything with the tag that the Resource Groups Tagging API knows."""
    wanted = {"Key": search.tag, **({"Values": [search.value]} if search.value else {})}
    with translated(f"resources tagged {search.tag}"):
        client = access.client("resourcegroupstaggingapi")
        for page in client.get_paginator("get_resources").paginate(TagFilters=[wanted]):
            for each in page["ResourceTagMappingList"]:
                yield Tagged(each["ResourceARN"], _tags(each.get("Tags", ())))


def _principals(access: AwsAccess, search: Search) -> list[Tagged]:
    """Roles and users with the tag: the Tagging API does not return them, and lists of IAM carry no tags."""
    with translated("roles and users of the account"):
        iam = access.client("iam")
        roles = [each for page in iam.get_paginator("list_roles").paginate() for each in page["Roles"]]
        users = [each for page in iam.get_paginator("list_users").paginate() for each in page["Users"]]
    wanted = [("Role", each["RoleName"], each["Arn"]) for each in roles if _taggable(each["Path"])]
    wanted += [("User", each["UserName"], each["Arn"]) for each in users]

    def tagged(one: tuple[str, str, str]) -> Tagged:
        return Tagged(one[2], _principal_tags(access, *one))

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        found = list(pool.map(tagged, wanted))
    return [each for each in found if is_wanted(search, each.tags)]


def _taggable(path: str) -> bool:
    return not path.startswith(UNTAGGABLE)


def _principal_tags(access: AwsAccess, kind: str, name: str, arn: str) -> dict[str, str]:
    found: dict[str, str] = {}
    with already(arn, "NoSuchEntity"):  # deleted since it was listed
        iam: Any = access.client("iam")
        for page in iam.get_paginator(f"list_{kind.lower()}_tags").paginate(**{f"{kind}Name": name}):
            found |= _tags(page["Tags"])
    return found


def _tags(pairs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in pairs}


class _Explorer:
    """Turns what is tagged into parts of a draft, and follows what leads further."""

    def __init__(self, access: AwsAccess, draft: Draft) -> None:
        self.access = access
        self.draft = draft
        self._watched: dict[str, None] = {}
        """Interfaces, subnets and VPCs whose flow logs show this workload's traffic."""

    def explore(self, tagged: list[Tagged]) -> None:
        """Fill the draft."""
        for each in tagged:
            self._place(each)
        for step in (self._instances, self._interfaces, self._subnets, self._flow_logs, self._account_wide):
            with self.draft.looking_at(step.__name__.strip("_").replace("_", " ")):
                step()
        self.draft.note_gaps()
        self.draft.note("check access: the responder's role goes there, not one that may only read")

    def _place(self, each: Tagged) -> None:
        meant = arnkinds.read(each.arn)
        if each.arn == self.access.role_arn:
            self.draft.left_out.append(f"{each.arn}: Firebreak itself runs as it")
        elif isinstance(meant, arnkinds.Part):
            self.draft.add(meant.group, meant.kind, meant.ref)
        elif isinstance(meant, arnkinds.Lead):
            follow: Callable[[str, Tagged], None] = getattr(self, f"_{meant.what}")
            with self.draft.looking_at(each.arn):
                follow(meant.name, each)
        else:
            self.draft.left_out.append(f"{each.arn}: the inventory has no kind for it")

    # leads

    def _bucket(self, name: str, each: Tagged) -> None:
        self.draft.add("stores", "s3-prefix", f"{each.arn}/")
        self.draft.note(
            f"s3://{name} is proposed as one store: narrow the prefix to agent memory, and declare models, "
            "prompts and configuration as s3-object with role and approved_sha256"
        )

    def _repository(self, name: str, each: Tagged) -> None:
        with translated(each.arn):
            pages = self.access.client("ecr").get_paginator("describe_images").paginate(repositoryName=name)
            images = [image for page in pages for image in page["imageDetails"] if image.get("imageTags")]
        if not images:
            self.draft.note(f"{each.arn} has no tagged image: declare the tag that is deployed")
            self.draft.add("artifacts", "ecr-repository", each.arn)
            return
        newest = max(images, key=lambda image: image["imagePushedAt"])
        tag = newest["imageTags"][0]
        self.draft.add("artifacts", "ecr-repository", each.arn, tag=tag)
        self.draft.note(
            f"{each.arn}: {tag} was pushed last; declare what is deployed, and its approved_digest"
        )

    def _pipeline(self, name: str, each: Tagged) -> None:
        with translated(each.arn):
            stages = self.access.client("codepipeline").get_pipeline(name=name)["pipeline"]["stages"]
        for stage in stages[
            1:
        ]:  # nothing is promoted into the first (CodePipeline user guide, "Transitions")
            self.draft.add("pipelines", "codepipeline-stage", each.arn, stage=stage["name"])

    def _models(self, name: str, each: Tagged) -> None:
        with translated(each.arn):
            sagemaker = self.access.client("sagemaker")
            pages = sagemaker.get_paginator("list_model_packages").paginate(
                ModelPackageGroupName=name, ModelApprovalStatus="Approved"
            )
            approved = [one["ModelPackageArn"] for page in pages for one in page["ModelPackageSummaryList"]]
        for arn in approved:
            self.draft.add("artifacts", "model-package", arn)
        if not approved:
            self.draft.left_out.append(f"{each.arn}: no approved version")

    def _function(self, name: str, each: Tagged) -> None:
        if each.tags.get(ROLE_TAG) == CANARY or CANARY in name.lower():
            self.draft.add("network", "canary", each.arn)
            return
        with translated(each.arn):
            configuration = self.access.client("lambda").get_function_configuration(FunctionName=each.arn)
        self.draft.add_role(configuration["Role"], each.arn)
        self.draft.left_out.append(
            f"{each.arn}: the inventory has no kind for a function; its role is proposed"
        )

    def _firewall(self, name: str, each: Tagged) -> None:
        with translated(each.arn):
            answer = self.access.client("network-firewall").describe_firewall(FirewallName=name)
        self.draft.add("network", "firewall-policy", answer["Firewall"]["FirewallPolicyArn"])

    # expansion

    def _instances(self) -> None:
        wanted = self.draft.refs("network", "ec2-instance")
        found: dict[str, JsonObject] = {}
        for page in self._described("describe_instances", "instance-id", wanted):
            found |= {one["InstanceId"]: one for group in page["Reservations"] for one in group["Instances"]}
        for ref in wanted:
            instance = found.get(ref)
            if instance is None or instance["State"]["Name"] in GONE:
                self.draft.drop("network", "ec2-instance", ref, "terminated")
            else:
                self._instance(ref, instance)

    def _instance(self, ref: str, instance: JsonObject) -> None:
        for interface in instance.get("NetworkInterfaces", ()):
            # An interface of the instance is isolated with it, so it is no part of its own.
            self.draft.drop("network", "network-interface", interface["NetworkInterfaceId"])
            self._watch(interface["NetworkInterfaceId"], interface.get("SubnetId"), interface.get("VpcId"))
        profile = instance.get("IamInstanceProfile")
        if not profile:
            self.draft.note(f"{ref} has no instance profile: declare whose credentials it uses")
            return
        with self.draft.looking_at(profile["Arn"]), translated(profile["Arn"]):
            name = profile["Arn"].rpartition("/")[2]
            answer = self.access.client("iam").get_instance_profile(InstanceProfileName=name)
            for role in answer["InstanceProfile"]["Roles"]:
                self.draft.add_role(role["Arn"], ref)

    def _interfaces(self) -> None:
        wanted = self.draft.refs("network", "network-interface")
        for page in self._described("describe_network_interfaces", "network-interface-id", wanted):
            for one in page["NetworkInterfaces"]:
                self._watch(one["NetworkInterfaceId"], one.get("SubnetId"), one.get("VpcId"))

    def _subnets(self) -> None:
        wanted = self.draft.refs("network", "subnet")
        for page in self._described("describe_subnets", "subnet-id", wanted):
            for one in page["Subnets"]:
                self._watch(one["SubnetId"], one.get("VpcId"))

    def _watch(self, *places: str | None) -> None:
        self._watched.update(dict.fromkeys(place for place in places if place))

    def _flow_logs(self) -> None:
        for page in self._described("describe_flow_logs", "resource-id", list(self._watched), "Filter"):
            for one in page["FlowLogs"]:
                self._flow_log(one)

    def _flow_log(self, one: JsonObject) -> None:
        name, ref = one["FlowLogId"], self._destination(one)
        if not ref:
            self.draft.left_out.append(f"{name}: flow logs to {one.get('LogDestinationType')} cannot be read")
        elif one.get("TrafficType") == "ACCEPT":
            self.draft.left_out.append(f"{name}: it records accepted traffic only, so it shows no denial")
        elif self.draft.add("network", "flow-log", ref):
            self.draft.drop("evidence_sources", "log-group", ref)

    def _destination(self, one: JsonObject) -> str:
        kind, access = one.get("LogDestinationType", "cloud-watch-logs"), self.access
        if kind == "cloud-watch-logs" and one.get("LogGroupName"):
            place = f"arn:{partition(access.region)}:logs:{access.region}:{access.account}"
            return f"{place}:log-group:{one['LogGroupName']}"
        known = kind in {"cloud-watch-logs", "s3"}
        return str(one.get("LogDestination", "")).removesuffix(":*") if known else ""

    def _account_wide(self) -> None:
        # LookupEvents reads the event history that every account has (CloudTrail user guide).
        self.draft.add("evidence_sources", "cloudtrail", "account")
        with translated("Detective"):
            graphs = self.access.client("detective").list_graphs().get("GraphList", [])
        if graphs:
            self.draft.add("evidence_sources", "detective", "account")

    def _described(
        self, operation: str, name: str, values: list[str], parameter: str = "Filters"
    ) -> Iterator[JsonObject]:
        """Ask EC2 by filter: other than a list of ids, it does not fail because of one that is gone."""
        for start in range(0, len(values), FILTER_VALUES):
            wanted = [{"Name": name, "Values": values[start : start + FILTER_VALUES]}]
            with translated(operation):
                ec2: Any = self.access.client("ec2")
                yield from ec2.get_paginator(operation).paginate(**{parameter: wanted})
