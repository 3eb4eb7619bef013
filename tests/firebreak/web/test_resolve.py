"""Only the exact id of a resource chooses a workload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from firebreak.inventory import load
from firebreak.web.webhook.alert import ResourceRef
from firebreak.web.webhook.resolve import Index
from tests.firebreak.web.hooks import ACCOUNT, REGION, agent

ROLE = f"arn:aws:iam::{ACCOUNT}:role/agents/agent-0001"
INSTANCE = "i-00000000000000001"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    path: Path = tmp_path_factory.mktemp("inventory") / "workloads.yaml"
    agents = [agent(1), agent(2), agent(3)]
    for each in agents[1:]:
        each["network"].append({"kind": "subnet", "ref": "subnet-0123456789abcdef0"})
    canary = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:canary"
    agents[0]["network"].append({"kind": "canary", "ref": canary})
    agents[0]["evidence_sources"].append({"kind": "cloudtrail", "ref": "account"})
    path.write_text(json.dumps({"version": 1, "workloads": agents}))
    return Index(load(path))


def named(index: Index, *refs: dict[str, Any]) -> str:
    found = index.resolve([ResourceRef.model_validate(each) for each in refs])
    return found.workload.id if found.workload else found.why


@pytest.mark.parametrize(
    "ref",
    [
        {"uid": ROLE},
        {"uid": f"arn:aws:iam::{ACCOUNT}:role/agent-0001"},
        {"uid": f"arn:aws:sts::{ACCOUNT}:assumed-role/agent-0001/session-7"},
        {"uid": INSTANCE, "account": ACCOUNT, "region": REGION},
        {"uid": f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{INSTANCE}"},
        {"uid": "arn:aws:s3:::agents/0001/model"},
        {"uid": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/agents/0001:*"},
    ],
)
def test_an_exact_id_finds_its_workload(index: Index, ref: dict[str, Any]) -> None:
    assert named(index, ref) == "agent-0001"


@pytest.mark.parametrize(
    "ref",
    [
        {"uid": "agent-0001"},
        {"uid": "agent-0001", "account": ACCOUNT, "region": REGION},
        {"uid": "account", "account": ACCOUNT, "region": REGION},
        {"uid": ROLE[:-1]},
        {"uid": f"{ROLE}2"},
        {"uid": f" {ROLE}"},
        {"uid": ROLE.replace(ACCOUNT, "111111111111")},
        {"uid": f"arn:aws:sts::{ACCOUNT}:assumed-role/other/agent-0001"},
        {"uid": INSTANCE},
        {"uid": INSTANCE, "account": ACCOUNT},
        {"uid": INSTANCE, "account": "111111111111", "region": REGION},
        {"uid": INSTANCE, "account": ACCOUNT, "region": "us-east-1"},
        {"uid": "arn:aws:s3:::agents"},
        {"uid": "arn:aws:s3:::agents/*"},
        {"uid": "*"},
        {"uid": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:canary"},
    ],
)
def test_anything_else_finds_none(index: Index, ref: dict[str, Any]) -> None:
    assert named(index, ref).startswith("no workload of the inventory")


def test_no_resources_find_none(index: Index) -> None:
    assert named(index) == "no workload of the inventory has its resources (none)"


def test_several_resources_of_one_workload_find_it_and_strangers_do_not_matter(index: Index) -> None:
    stranger = {"uid": "arn:aws:s3:::elsewhere"}
    assert named(index, {"uid": ROLE}, {"uid": "arn:aws:s3:::agents/0001/model"}, stranger) == "agent-0001"


def test_resources_of_several_workloads_are_for_people(index: Index) -> None:
    second = {"uid": ROLE.replace("0001", "0002")}
    assert (
        named(index, {"uid": ROLE}, second)
        == "its resources belong to several workloads: agent-0001, agent-0002"
    )


def test_a_shared_resource_is_for_people(index: Index) -> None:
    shared = {"uid": "subnet-0123456789abcdef0", "account": ACCOUNT, "region": REGION}
    assert "several workloads: agent-0002, agent-0003" in named(index, shared)
