"""Let the Resource Groups Tagging API return what AWS returns and the emulator leaves out.

AWS: Resource Groups Tagging API reference, "Services that support the Resource Groups Tagging API" (with ECR
repositories, CodePipeline pipelines and Network Firewall, without IAM roles and users), and GetResources:
"all the tagged or previously tagged resources that are located in the specified AWS Region".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from moto.codepipeline.models import codepipeline_backends
from moto.core.resource_tagging import TaggedResource, make_tag_matcher, match_resource_type
from moto.ecr.models import ecr_backends
from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend
from moto.s3.models import s3_backends

from drills.sandbox.aws.stubs import networkfirewall

_emulated = ResourceGroupsTaggingAPIBackend._get_resources_generator


def _added(account: str, region: str) -> Iterator[TaggedResource]:
    ecr = ecr_backends[account][region]
    for repository in ecr.repositories.values():
        tags = ecr.tagger.get_tag_dict_for_resource(repository.arn)
        yield TaggedResource(repository.arn, tags, "ecr:repository")
    pipelines = codepipeline_backends[account][region]
    for pipeline in pipelines.pipelines.values():
        yield TaggedResource(pipeline._arn, dict(pipeline.tags), "codepipeline:pipeline")
    for policy in networkfirewall.policies.values():
        if policy.arn.split(":")[3:5] == [region, account]:
            yield TaggedResource(policy.arn, _as_dict(policy.tags), "network-firewall:firewall-policy")


def _as_dict(pairs: Iterable[dict[str, str]]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in pairs}


def _is_elsewhere(resource: TaggedResource, account: str, region: str) -> bool:
    if resource.resource_type != "s3:bucket":
        return False
    bucket = s3_backends[account]["aws"].buckets.get(resource.arn.rpartition(":")[2])
    return bucket is None or bucket.region_name != region


def _resources(
    backend: ResourceGroupsTaggingAPIBackend,
    tag_filters: list[dict[str, Any]] | None = None,
    resource_type_filters: list[str] | None = None,
    resource_arn_list: list[str] | None = None,
) -> Iterator[TaggedResource]:
    account, region = backend.account_id, backend.region_name
    for resource in _emulated(backend, tag_filters, resource_type_filters, resource_arn_list):
        if not _is_elsewhere(resource, account, region):
            yield resource
    matches = make_tag_matcher(tag_filters)
    for resource in _added(account, region):
        wanted = not resource_arn_list or resource.arn in resource_arn_list
        kind = match_resource_type(resource.resource_type, resource_type_filters)
        if wanted and kind and resource.tags and matches(resource.tags):
            yield resource


def apply() -> None:
    """Replace the emulator's source of tagged resources."""
    setattr(ResourceGroupsTaggingAPIBackend, "_get_resources_generator", _resources)  # noqa: B010 - mypy
