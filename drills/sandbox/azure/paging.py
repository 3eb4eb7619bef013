"""Cut lists into pages with a link to the next one.

Source: "Paging" of the Azure REST API guidelines (nextLink) and of Microsoft Graph (@odata.nextLink).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from drills.sandbox.azure.call import Call, JsonObject
from drills.sandbox.azure.errors import ArmError
from drills.sandbox.azure.state import settings

_TOKEN = "$skiptoken"


def page(call: Call, documents: Iterable[JsonObject], size: int | None = None) -> JsonObject:
    """Return the page of a list that the call asks for."""
    everything, start = list(documents), _start(call)
    count = size or max(1, int(settings["page_size"]))
    answer: JsonObject = {"value": everything[start : start + count]}
    if start + count < len(everything):
        token = base64.urlsafe_b64encode(str(start + count).encode()).decode()
        link = call.url(query={**call.query, _TOKEN: token})
        answer["@odata.nextLink" if call.host == "graph" else "nextLink"] = link
    return answer


def _start(call: Call) -> int:
    token = next((value for name, value in call.query.items() if name.lower() == _TOKEN), "")
    try:
        return int(base64.urlsafe_b64decode(token)) if token else 0
    except (ValueError, binascii.Error) as error:
        raise ArmError(400, "InvalidSkipToken", "The skip token is not valid.") from error
