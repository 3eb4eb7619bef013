"""Phase 1 on Azure: importing this package registers its measures."""

from providers.azure.identity import (
    appcredentials,
    assignments,
    denyassignment,
    federated,
    localauth,
    serviceprincipal,
)

__all__ = ["appcredentials", "assignments", "denyassignment", "federated", "localauth", "serviceprincipal"]
