"""Freezes of AWS on their own: buckets, tables and images, and the responder with no right too many."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from botocore.exceptions import ClientError

from firebreak.measure import measure
from providers.aws.resources import DynamoDbTable, S3Object, S3Prefix
from tests.providers.aws.conftest import REGION, WORKLOAD
from tests.providers.driving import OneTarget

MEDIA = "application/vnd.oci.image.manifest.v1+json"


class Step(OneTarget):
    """One measure on its one target, driven as the engine drives it, with no more rights than it asks for."""

    def __init__(
        self,
        world: Any,
        name: str,
        *,
        access: dict[str, str] | None = None,
        owner: str = "agent",
        **groups: Any,
    ) -> None:
        workload = world.workload(**groups).model_copy(update={"id": owner})
        if access is None:
            workload = world.exactly(workload, *{name, "aws.lock-objects"})
        else:
            workload = workload.model_copy(update={"access": access})
        self.access = workload.access
        kind = measure(name)
        (self.target,) = kind.applies_to(workload)
        self.measure: Any = kind(world.context(workload))


def denied(call: Any, **arguments: Any) -> bool:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}


def make_bucket(world: Any, name: str, *, lock: bool, versioned: bool = False) -> Any:
    s3 = world.admin("s3")
    s3.create_bucket(
        Bucket=name,
        ObjectLockEnabledForBucket=lock,
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    if versioned:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return s3


def objects_step(
    world: Any,
    bucket: str,
    *,
    approved: str | None = None,
    access: dict[str, str] | None = None,
) -> Step:
    model = S3Object(
        kind="s3-object", ref=f"arn:aws:s3:::{bucket}/models/a.bin", role="model", approved_sha256=approved
    )
    prompt = S3Object(kind="s3-object", ref=f"arn:aws:s3:::{bucket}/prompts/p.txt", role="prompt")
    memory = S3Prefix(kind="s3-prefix", ref=f"arn:aws:s3:::{bucket}/memory/")
    return Step(world, "aws.lock-objects", access=access, artifacts=(model, prompt), stores=(memory,))


def seed_objects(s3: Any, bucket: str) -> dict[str, bytes]:
    bodies = {"models/a.bin": b"weights", "prompts/p.txt": b"be good", "memory/1": b"one", "memory/2": b"two"}
    for key, body in bodies.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    s3.put_object(Bucket=bucket, Key="elsewhere", Body=b"not ours")
    return bodies


def make_table(world: Any, name: str, kinds: str = "S", **options: Any) -> Any:
    dynamodb = world.admin("dynamodb")
    names = ["session", "turn"][: len(kinds)]
    dynamodb.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": each, "KeyType": role}
            for each, role in zip(names, ["HASH", "RANGE"], strict=False)
        ],
        AttributeDefinitions=[
            {"AttributeName": each, "AttributeType": kind} for each, kind in zip(names, kinds, strict=True)
        ],
        BillingMode="PAY_PER_REQUEST",
        **options,
    )
    return dynamodb


def table_step(world: Any, name: str) -> Step:
    arn = f"arn:aws:dynamodb:{REGION}:{WORKLOAD}:table/{name}"
    return Step(world, "aws.freeze-memory-table", stores=(DynamoDbTable(kind="dynamodb-table", ref=arn),))


def push(ecr: Any, name: str, tag: str, revision: str) -> str:
    blob = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": f"sha256:{sha256(revision.encode()).hexdigest()}",
        "size": 7023,
    }
    manifest = {"schemaVersion": 2, "mediaType": MEDIA, "config": blob, "layers": []}
    image = ecr.put_image(
        repositoryName=name, imageManifest=json.dumps(manifest), imageTag=tag, imageManifestMediaType=MEDIA
    )
    return str(image["image"]["imageId"]["imageDigest"])
