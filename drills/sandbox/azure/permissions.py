"""What the caller may do at a scope.

Source: Azure REST API, Authorization: Permissions (2022-04-01).
"""

from __future__ import annotations

from drills.sandbox.azure import ids, paging, rbac
from drills.sandbox.azure.call import Call, JsonObject
from drills.sandbox.azure.table import operation

_TYPE = "Microsoft.Authorization/permissions"


@operation(
    "arm",
    "GET",
    f"{{scope}}/providers/{_TYPE}",
    versions=("2022-04-01", "2018-07-01"),
    action=f"{_TYPE}/read",
    source="Authorization REST: Permissions",
)
def list_permissions(call: Call) -> JsonObject:
    """List the permissions that the caller's roles give at a scope."""
    found = rbac.granted(call.caller.object_id, call.params["scope"] or ids.ROOT)
    return paging.page(call, (one.document() for one in found))
