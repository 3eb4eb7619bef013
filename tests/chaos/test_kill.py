"""Processes are killed or stopped in the middle of a containment: it ends contained, and nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firebreak.model import Cloud
from tests.chaos.rig import Rig, attempts, rig
from tests.e2e.scene import Scene

pytestmark = pytest.mark.slow

MOMENTS = ("planning", "identity", "network", "artifacts", "forensics")
IN_PHASE = {
    Cloud.AWS: {
        "planning": "iam:SimulatePrincipalPolicy",
        "identity": "iam:PutRolePolicy",
        # half of the two-step swap: the group that allows all
        "network": "ec2:ModifyNetworkInterfaceAttribute",
        "artifacts": "s3:PutObjectLegalHold",
        "forensics": "ec2:CreateSnapshots",
    },
    Cloud.AZURE: {
        "planning": "Microsoft.Authorization/permissions/read",
        "identity": "Microsoft.Authorization/roleAssignments/delete",
        # half of the move: the group is there, the interface is not in it yet
        "network": "Microsoft.Network/networkSecurityGroups/write",
        "artifacts": "Microsoft.Storage/storageAccounts/blobServices/containers/setLegalHold/action",
        "forensics": "Microsoft.Compute/snapshots/write",
    },
}
"""A call after which the named phase is under way, and not yet over."""

REHEARSALS = frozenset(
    {
        "ecr:PutImage",
        "ecr:BatchDeleteImage",
        "s3:PutObject",
        "s3:DeleteObject",
        "sqs:ChangeMessageVisibilityBatch",
    }
)
"""Placing the canaries anew, and showing messages again that reading had hidden: without a lasting effect."""


@pytest.fixture(scope="module")
def undisturbed(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Counter[str], Counter[str]]]:
    """What a run without any mishap does, and what it leaves behind."""
    with rig(tmp_path_factory.mktemp("undisturbed"), scene) as calm:
        calm.start_workers()
        code, document = calm.contain().finish()
        assert (code, document["verdict"]) == (0, "contained")
        yield calm.effects(), scene.shape()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_worker(chaos: Rig, undisturbed: Any, moment: str) -> None:
    chaos.sandbox.configure(latency_ms=40)
    containing = chaos.contain()
    chaos.wait_for_call(IN_PHASE[chaos.scene.cloud][moment])
    chaos.kill_workers()
    chaos.start_workers()
    document = assert_contained(chaos, containing)
    retried = attempts(await chaos.history(document["workflow_id"]))
    assert 2 in retried.values(), "nothing was interrupted: the kill came too late"
    assert_nothing_twice(chaos, undisturbed)


@pytest.mark.parametrize("moment", ["identity", "artifacts"])
async def test_killed_temporal_server(chaos: Rig, undisturbed: Any, moment: str) -> None:
    chaos.sandbox.configure(latency_ms=40)
    containing = chaos.contain()
    chaos.wait_for_call(IN_PHASE[chaos.scene.cloud][moment])
    chaos.kill_server()
    await chaos.restart_server()
    document = assert_contained(chaos, containing)
    assert set(attempts(await chaos.history(document["workflow_id"])).values()) == {1}
    assert_nothing_twice(chaos, undisturbed)


@pytest.mark.parametrize("moment", ["network", "forensics"])
async def test_stopped_worker_hands_over(chaos: Rig, undisturbed: Any, moment: str) -> None:
    containing = chaos.contain()
    chaos.wait_for_call(IN_PHASE[chaos.scene.cloud][moment])
    chaos.stop_workers()
    chaos.start_workers()
    document = assert_contained(chaos, containing)
    assert set(attempts(await chaos.history(document["workflow_id"])).values()) == {1}
    assert_nothing_twice(chaos, undisturbed)


def assert_contained(chaos: Rig, containing: Any) -> dict[str, Any]:
    code, document = containing.finish()
    assert (code, document["verdict"]) == (0, "contained"), document
    assert_evidence_is_whole(chaos, document)
    return dict(document)


def assert_evidence_is_whole(chaos: Rig, document: dict[str, Any]) -> None:
    """The package is complete, signed, and covers every planned measure."""
    package, key = chaos.folder / "package", chaos.folder / "live.pub"
    exported = chaos.command("evidence", "export", document["evidence"]["uri"], str(package))
    assert exported.returncode == 0, exported.stderr
    chaos.scene.export_key(chaos.sample, key)
    verified = chaos.command("evidence", "verify", str(package), "--trust", str(key), "--json")
    assert verified.returncode == 0, verified.stdout
    measures = {m["name"] for phase in document["phases"] for m in phase["measures"]}
    findings = {path.parent.parent.name for path in Path(package).rglob("findings.json")}
    assert findings == measures


def assert_nothing_twice(chaos: Rig, undisturbed: tuple[Counter[str], Counter[str]]) -> None:
    effects, left = undisturbed
    extra = chaos.effects() - effects
    assert not {name: count for name, count in extra.items() if name not in REHEARSALS}
    chaos.sandbox.configure(latency_ms=0)
    assert chaos.scene.shape() == left
