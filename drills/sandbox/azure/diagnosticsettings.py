"""Play the diagnostic settings of any resource: an extension that a lock on the resource also keeps.

Source: Azure Monitor REST API, "Diagnostic Settings"; "Lock your resources to protect your infrastructure".
"""

from __future__ import annotations

from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.store import store
from drills.sandbox.azure.table import operation

VERSIONS = ("2021-05-01-preview",)
SOURCE = "Azure Monitor REST API, Diagnostic Settings"
_PATH = "{scope}/providers/Microsoft.Insights/diagnosticSettings/{name}"
_ACTION = "Microsoft.Insights/diagnosticSettings"


@operation("arm", "GET", _PATH, versions=VERSIONS, action=f"{_ACTION}/read", source=SOURCE)
def get_setting(call: Call) -> JsonObject:
    """Show a setting."""
    return store.need(call.path).document()


@operation("arm", "PUT", _PATH, versions=VERSIONS, action=f"{_ACTION}/write", source=SOURCE)
def put_setting(call: Call) -> JsonObject:
    """Create or replace a setting."""
    return store.put(call.path, call.body).document()


@operation("arm", "DELETE", _PATH, versions=VERSIONS, action=f"{_ACTION}/delete", source=SOURCE)
def delete_setting(call: Call) -> Answer:
    """Remove a setting; 204 when there is none."""
    return Answer(200 if store.delete(call.path) else 204)
