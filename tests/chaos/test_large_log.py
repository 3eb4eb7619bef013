"""However large a log is, the worker that captures it stays small."""

from __future__ import annotations

import psutil
import pytest

from drills.sandbox.aws.sample import WORKLOAD_ACCOUNT
from firebreak.model import Cloud, JsonObject
from tests.chaos.rig import Memory, Rig

MIB = 1024 * 1024
LIMIT = {Cloud.AWS: 200_000_000, Cloud.AZURE: 200 * MIB}
"""Bytes. Azure's SDKs take more than AWS's: 120 MiB before the first call."""
CAPTURE_SECONDS = 1800
"""The sandbox is slower than AWS; this test is about memory."""


@pytest.mark.timeout(2 * CAPTURE_SECONDS)
@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 1024])
def test_worker_memory_stays_flat(chaos: Rig, size: int) -> None:
    cloud = chaos.scene.cloud
    source, target = large_log(chaos, size)
    chaos.declare(source, budgets={"forensic_capture": CAPTURE_SECONDS})
    memory = Memory(psutil.Process(chaos.workers[cloud.value].pid))
    with memory.watched():
        code, document = chaos.contain().finish(CAPTURE_SECONDS)
    assert (code, document["verdict"]) == (0, "contained"), document
    assert captured_bytes(document, f"{cloud.value}.capture-workload-logs", target) >= size * MIB
    assert memory.peak < LIMIT[cloud], f"{memory.peak / MIB:.0f} MiB"


def large_log(chaos: Rig, size: int) -> tuple[JsonObject, str]:
    """An evidence source of so many MiB, and how the measure names it."""
    if chaos.scene.cloud is Cloud.AWS:
        group = (
            f"arn:aws:logs:{chaos.sample.region}:{WORKLOAD_ACCOUNT}:log-group:/firebreak/synthetic/{size}MiB"
        )
        return {"kind": "log-group", "ref": group}, group
    known = next(each for each in chaos.entry()["evidence_sources"] if each["kind"] == "log-analytics")
    table = f"Firebreak_{size}MiB_CL"
    return {**known, "tables": [table]}, f"{known['ref']}/tables/{table}"


def captured_bytes(document: JsonObject, name: str, target: str) -> int:
    """Bytes of a log's exhibits, as they were read back from the store."""
    measures = [m for phase in document["phases"] for m in phase["measures"]]
    capture = next(m for m in measures if (m["name"], m["target"]) == (name, target))
    return int(next(f["detail"]["bytes"] for f in capture["findings"] if "bytes" in f["detail"]))
