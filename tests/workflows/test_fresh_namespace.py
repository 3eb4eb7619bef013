"""A trigger is taken by a server that no worker has ever known."""

from __future__ import annotations

from pathlib import Path

from temporalio.client import Client

from firebreak import devserver, start
from firebreak.codec import data_converter
from firebreak.measure import now
from firebreak.model import Cloud, Mode, Workload
from firebreak.record import Trigger
from firebreak.settings import Settings


async def test_a_trigger_is_durable_before_any_worker_has_started(tmp_path: Path) -> None:
    server = devserver.launch(devserver.free_port(), devserver.free_port(), None, tmp_path / "temporal.log")
    try:
        await devserver.ready(server)
        client = await Client.connect(server.address, data_converter=data_converter(Settings()))
        workload = Workload(id="agent", cloud=Cloud.AWS, account="222222222222", region="eu-central-1")
        trigger = Trigger(source="siem", reason="beacon", requested_by="soc", received_at=now())
        started = await start.contain(
            client, Settings(), workload, trigger, incident_id="INC-1", mode=Mode.LIVE
        )
        assert (started.incident_id, started.joined) == ("INC-1", False)
    finally:
        server.kill()
