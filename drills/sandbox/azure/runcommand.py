"""Play the run command of virtual machines, for the one script that asks the metadata service for a token.

Sources: Compute REST API, "Virtual Machines - Run Command" (a message has the output between marks);
"How to use managed identities for Azure resources on an Azure VM to acquire an access token".
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from drills.sandbox.azure import lro, msi
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.control import ControlError, ControlRequest
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.store import Item, store
from drills.sandbox.azure.table import operation

MACHINES = "Microsoft.Compute/virtualMachines"
VERSIONS = ("2024-03-01", "2024-07-01", "2024-11-01", "2025-04-01", "2026-04-01")
SOURCE = "Compute REST API, Virtual Machines - Run Command"
COMMANDS = {"runshellscript": "Linux", "runpowershellscript": "Windows"}
_METADATA = re.compile(r"'(http://169\.254\.169\.254/metadata/identity/oauth2/token\?[^']+)'")
_RUNNING = "PowerState/running"


@operation(
    "arm",
    "POST",
    f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{MACHINES}/{{name}}/runCommand",
    versions=VERSIONS,
    action=f"{MACHINES}/runCommand/action",
    source=SOURCE,
)
def run_command(call: Call) -> Answer:
    """Run a script on a machine that is running, and give its output as the operation's result."""
    machine = store.need(call.resource_id)
    system = COMMANDS.get(str(call.body.get("commandId", "")).lower())
    if system is None:
        raise ArmError(400, "InvalidParameter", "The value of parameter commandId is invalid.")
    if machine.extra.get("power", _RUNNING) != _RUNNING:
        message = "Cannot modify extensions in the VM when the VM is not running."
        raise ArmError(409, "OperationNotAllowed", message)
    output = _output(machine, system, "\n".join(call.body.get("script") or ()))

    def finish() -> JsonObject:
        return {"value": _parts(system, output)}

    return lro.accept(call, machine.id, finish)


def _output(machine: Item, system: str, script: str) -> str:
    disk = machine.properties.get("storageProfile", {}).get("osDisk", {})
    if str(disk.get("osType", "Linux")) != system:
        return ""
    asked = _METADATA.search(script)
    return json.dumps(_token(machine, parse_qs(urlsplit(asked[1]).query))) if asked else ""


def _token(machine: Item, asked: dict[str, list[str]]) -> JsonObject:
    """Answer as the metadata service of that machine does."""
    resource = asked.get("resource", [""])[0]
    wish = {"host": machine.id, "identity": asked.get("client_id", [""])[0], "resource": resource}
    try:
        given: dict[str, Any] = msi.host_token(ControlRequest(body=wish))
    except ControlError:
        return {"error": "invalid_request", "error_description": "Identity not found"}
    if "refused" in given:
        text = f"{given['refused']}: {given['message']}"
        return {"error": "unauthorized_client", "error_description": text}
    return {**given, "expires_on": str(given["expires_on"]), "resource": resource, "token_type": "Bearer"}


def _parts(system: str, output: str) -> list[JsonObject]:
    """Linux gives one message with marks, Windows one for each stream."""
    status = {"displayStatus": "Provisioning succeeded", "level": "Info"}
    if system == "Windows":
        names = (("StdOut", output), ("StdErr", ""))
        return [
            {**status, "code": f"ComponentStatus/{name}/succeeded", "message": text} for name, text in names
        ]
    message = f"Enable succeeded: \n[stdout]\n{output}\n[stderr]\n"
    return [{**status, "code": "ProvisioningState/succeeded", "message": message}]
