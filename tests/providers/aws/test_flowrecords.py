"""Flow log files in a bucket are read as they stream: memory does not grow with what others wrote in them."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from firebreak.measure import now
from providers.aws.network import flowrecords
from providers.aws.network.flowproof import DEFAULT_FIELDS
from providers.aws.resources import FlowLog
from tests.providers.aws.conftest import REGION, WORKLOAD

OURS, LOG = "eni-0123456789abcdef0", "fl-0123456789abcdef0"
MIB = 2**20


def line(eni: str) -> str:
    return f"2 {WORKLOAD} {eni} 10.0.1.50 10.0.1.10 40000 443 6 1 60 1767225600 1767225660 REJECT OK\n"


def put(world: Any, bucket: str, text: str) -> None:
    s3 = world.admin("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    folder = f"flows/AWSLogs/{WORKLOAD}/vpcflowlogs/{REGION}/{now():%Y/%m/%d}"
    key = f"{folder}/{WORKLOAD}_vpcflowlogs_{REGION}_{LOG}_a.log.gz"
    s3.put_object(Bucket=bucket, Key=key, Body=gzip.compress(text.encode()))


def source(bucket: str) -> flowrecords.Source:
    declared = FlowLog(kind="flow-log", ref=f"arn:aws:s3:::{bucket}/flows")
    return flowrecords.Source(declared, DEFAULT_FIELDS, LOG, hive=False, interval=60)


def test_a_large_file_of_others_is_read_in_little_memory(world: Any, fresh: Callable[[str], str]) -> None:
    bucket = fresh("large")
    others = line("eni-0fedcba9876543210") * (8 * MIB // len(line(OURS)))
    put(world, bucket, " ".join(DEFAULT_FIELDS) + "\n" + others + line(OURS) + f"{OURS} torn\n")
    access = world.context(world.workload()).access
    access.client("s3").list_buckets()
    tracemalloc.start()
    try:
        reading = flowrecords.read(access, source(bucket), OURS, now() - timedelta(minutes=1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [each.line for each in reading.records] == [line(OURS).strip()]
    assert reading.unreadable == 1
    assert peak < 4 * MIB
