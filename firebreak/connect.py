"""The connection to Temporal: its own environment configuration, our data converter and attributes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from firebreak.codec import data_converter
from firebreak.errors import FirebreakError, SettingsError
from firebreak.logs import redacted_text
from firebreak.model import Mode
from firebreak.settings import Settings

INCIDENT = SearchAttributeKey.for_keyword("FirebreakIncident")
WORKLOAD = SearchAttributeKey.for_keyword("FirebreakWorkload")
MODE = SearchAttributeKey.for_keyword("FirebreakMode")
SEARCH_ATTRIBUTES = (INCIDENT, WORKLOAD, MODE)
"""Ids only: search attributes are stored in clear text."""

RETENTION = timedelta(days=30)
"""A release asks Temporal for the containment, maybe weeks after it; a namespace may keep ended runs for a
day only (https://docs.temporal.io/temporal-service/temporal-server#retention-period), as a dev server."""


async def connect(settings: Settings, runtime: Runtime | None = None, *, lazy: bool = False) -> Client:
    """Connect as ``TEMPORAL_ADDRESS``, ``TEMPORAL_NAMESPACE`` and the TLS variables say.

    Raises SettingsError when they cannot be used, and FirebreakError with the address and the reason when no
    connection comes about; with ``lazy`` the first call does.
    """
    config, converter = _configured(), data_converter(settings)
    try:
        return await Client.connect(**config, data_converter=converter, runtime=runtime, lazy=lazy)
    except RuntimeError as error:  # the SDK's word for every failure to connect
        raise FirebreakError(
            f"no connection to Temporal at {config['target_host']}: {_reason(error)}",
            remedy="start a server (`firebreak up` for the embedded one), or correct TEMPORAL_ADDRESS, "
            "TEMPORAL_API_KEY or the TEMPORAL_TLS_* variables",
        ) from error
    except ValueError as error:  # its word for an address that is none
        raise _unusable(error) from error


def _configured() -> dict[str, Any]:
    try:
        config = ClientConfig.load_client_connect_config()
    except (OSError, RuntimeError) as error:  # no such file; a profile or a file that makes no sense
        raise _unusable(error) from error
    return {"target_host": "localhost:7233", **config}


def _unusable(error: Exception) -> SettingsError:
    return SettingsError(
        f"Temporal's own settings cannot be used: {_reason(error)}",
        remedy="correct the TEMPORAL_* variables, or the file that TEMPORAL_CONFIG_FILE names",
    )


def _reason(error: Exception) -> str:
    """The first line: further ones repeat the configuration file, which may hold a key."""
    return redacted_text(next(iter(str(error).splitlines()), type(error).__name__))


def search_attributes(incident_id: str, workload_id: str, mode: Mode) -> TypedSearchAttributes:
    """What a run is found by."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(INCIDENT, incident_id),
            SearchAttributePair(WORKLOAD, workload_id),
            SearchAttributePair(MODE, mode.value),
        ]
    )


async def ensure_search_attributes(client: Client) -> None:
    """Register our search attributes where they are missing. Idempotent."""
    operator = client.operator_service
    try:
        known = await operator.list_search_attributes(ListSearchAttributesRequest(namespace=client.namespace))
        missing = [key.name for key in SEARCH_ATTRIBUTES if key.name not in known.custom_attributes]
        if missing:
            keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
            await operator.add_search_attributes(
                AddSearchAttributesRequest(
                    namespace=client.namespace, search_attributes=dict.fromkeys(missing, keyword)
                )
            )
    except RPCError as error:
        raise FirebreakError(
            f"the search attributes {', '.join(key.name for key in SEARCH_ATTRIBUTES)} cannot be registered: "
            f"{error.message}",
            resource=client.namespace,
            remedy="let an administrator of the namespace register them as Keyword",
        ) from error
