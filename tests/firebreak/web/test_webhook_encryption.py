"""With payload keys set, neither the raw alert nor what it says lies in a history in clear."""

from __future__ import annotations

import base64
import gzip
import json
import secrets
from pathlib import Path

import pytest
from pydantic import SecretStr
from temporalio.client import Client

from firebreak import intake
from firebreak.codec import data_converter
from firebreak.devserver import DevServer
from tests.firebreak.web.hooks import Hooks, hooks_on, ids_of, payload, sent, settings_for, sources_file
from tests.firebreak.web.senders import Keys

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def encrypted(server: DevServer, keys: Keys, folder: Path) -> Hooks:
    """A web application whose Temporal payloads are encrypted; no worker is there."""
    key = SecretStr(base64.b64encode(secrets.token_bytes(32)).decode())
    plain = settings_for(folder, f"sealed-{secrets.token_hex(4)}", agents=2, answer_seconds=30)
    settings = plain.model_copy(update={"payload_keys": {"k1": key}, "payload_key_id": "k1"})
    client = await Client.connect(server.address, data_converter=data_converter(settings))
    return hooks_on(client, settings, keys, sources_file(folder, keys))


@pytest.mark.usefixtures("stage")
async def test_histories_hold_no_alert_in_clear(server: DevServer, keys: Keys, tmp_path: Path) -> None:
    hooks = await encrypted(server, keys, tmp_path)
    marker = f"exfiltration-{secrets.token_hex(8)}"
    body = payload("ocsf", ids_of(hooks.workload()), message=marker, finding_info__title=marker)
    request = sent(keys.standard(), body)
    told = (await hooks.post("ocsf", request)).json()
    assert told["status"] == "started"
    name = intake.delivery_id("ocsf", f"{body['finding_info']['uid']} {body['metadata']['uid']}")
    raw = b""
    for workflow_id in (name, told["workflow_id"]):
        history = await hooks.temporal.get_workflow_handle(workflow_id).fetch_history()
        raw += b"".join(event.SerializeToString() for event in history.events)
    packed = gzip.compress(request.body, mtime=0)
    for secret in (marker.encode(), packed, base64.b64encode(packed), base64.urlsafe_b64encode(packed)):
        assert secret not in raw
    assert raw.count(b"binary/encrypted") >= 3
    delivery = await intake.read(
        hooks.temporal, (await hooks.temporal.get_workflow_handle(name).fetch_history()).events[0]
    )
    assert json.loads(gzip.decompress(delivery.body)) == body
    assert (await hooks.post("ocsf", request)).json() == told | {"repeated": True}
    await hooks.temporal.get_workflow_handle(told["workflow_id"]).terminate()


@pytest.mark.usefixtures("stage")
async def test_without_the_key_a_repeat_is_not_taken_and_not_lost(
    server: DevServer, keys: Keys, tmp_path: Path
) -> None:
    first = await encrypted(server, keys, tmp_path)
    request = sent(keys.standard(), payload("ocsf", ids_of(first.workload())))
    told = (await first.post("ocsf", request)).json()
    assert told["status"] == "started"
    other = await encrypted(server, keys, tmp_path)  # the same server, a key of its own
    assert (await other.post("ocsf", request)).status_code == 503
    await first.temporal.get_workflow_handle(told["workflow_id"]).terminate()
