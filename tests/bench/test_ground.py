from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import boto3

from bench.ground import Ground
from drills.sandbox.aws.client import SandboxClient
from firebreak.devserver import DevServer


def test_calls_since_a_mark_are_counted_by_service(sandbox: SandboxClient, tmp_path: Path) -> None:
    sandbox.reset()
    place = Ground(tmp_path, cast("DevServer", None), sandbox, None, {}, ExitStack())
    credentials = sandbox.bootstrap("222222222222").boto3_arguments()
    connect: Any = boto3.client
    iam = connect("iam", endpoint_url=sandbox.url, region_name="eu-central-1", **credentials)
    iam.list_roles()
    mark = place.calls_so_far()
    iam.list_users()
    assert (mark, place.calls_since(mark)) == ({"iam": 1}, {"iam": 1})
