"""However large a log is, the worker that captures it stays small."""

from __future__ import annotations

import psutil
import pytest

from drills.sandbox.aws.sample import WORKLOAD_ACCOUNT
from tests.chaos.rig import Memory, Rig

MIB = 1024 * 1024
LIMIT = 200_000_000
CAPTURE_SECONDS = 1800
"""The sandbox is slower than AWS; this test is about memory."""


@pytest.mark.timeout(2 * CAPTURE_SECONDS)
@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 1024])
def test_worker_memory_stays_flat(chaos: Rig, size: int) -> None:
    group = f"arn:aws:logs:{chaos.sample.region}:{WORKLOAD_ACCOUNT}:log-group:/firebreak/synthetic/{size}MiB"
    chaos.declare({"kind": "log-group", "ref": group}, budgets={"forensic_capture": CAPTURE_SECONDS})
    memory = Memory(psutil.Process(chaos.workers["aws"].pid))
    with memory.watched():
        code, document = chaos.contain().finish(CAPTURE_SECONDS)
    assert (code, document["verdict"]) == (0, "contained"), document
    assert captured_bytes(document, group) >= size * MIB
    assert memory.peak < LIMIT, f"{memory.peak / MIB:.0f} MiB"


def captured_bytes(document: dict[str, object], group: str) -> int:
    """Bytes of the group's exhibits, as they were read back from the store."""
    measures = [m for phase in document["phases"] for m in phase["measures"]]  # type: ignore[attr-defined]
    capture = next(m for m in measures if (m["name"], m["target"]) == ("aws.capture-workload-logs", group))
    return int(next(f["detail"]["bytes"] for f in capture["findings"] if "bytes" in f["detail"]))
