"""Microsoft Graph: users, as far as containment ends their sessions.

Source: Microsoft Graph REST API v1.0, "user: revokeSignInSessions"; service principals have no such call.
"""

from __future__ import annotations

from drills.sandbox.azure import clock
from drills.sandbox.azure.call import Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.graph import need, picked
from drills.sandbox.azure.table import operation

_SOURCE = "Microsoft Graph REST API v1.0, user"
_READ = ("User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
_SWITCH = ("User.EnableDisableAccount.All", "User.ReadWrite.All", "Directory.ReadWrite.All")
_REVOKE = ("User.RevokeSessions.All", "User.ReadWrite.All", "Directory.ReadWrite.All")


@operation("graph", "GET", "/v1.0/users/{id}", graph=_READ, source=_SOURCE)
def get_user(call: Call) -> JsonObject:
    """Show a user."""
    return picked(call, need(call, "users").document)


@operation("graph", "PATCH", "/v1.0/users/{id}", graph=_SWITCH, source=_SOURCE)
def switch_user(call: Call) -> None:
    """Enable or disable a user ("Update user"); other properties are not played."""
    wanted = call.body.get("accountEnabled")
    if not isinstance(wanted, bool) or len(call.body) != 1:
        raise ArmError(400, "Request_BadRequest", "Invalid value specified for property 'accountEnabled'.")
    need(call, "users").document["accountEnabled"] = wanted


@operation("graph", "POST", "/v1.0/users/{id}/revokeSignInSessions", graph=_REVOKE, source=_SOURCE)
def revoke_sessions(call: Call) -> JsonObject:
    """Make the user sign in again everywhere."""
    need(call, "users").document["signInSessionsValidFromDateTime"] = clock.stamp()
    return {"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#Edm.Boolean", "value": True}
