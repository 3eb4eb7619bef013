"""From an identity provider's claims to a person with Firebreak's roles."""

from __future__ import annotations

from firebreak.errors import FirebreakError
from firebreak.model import JsonObject
from firebreak.policy.rules import Person
from firebreak.settings import OidcSettings


class ClaimsError(FirebreakError):
    """The claims name nobody that Firebreak could record."""


def person_of(claims: JsonObject, settings: OidcSettings) -> Person:
    """The person of verified claims; roles that the settings do not map mean nothing."""
    subject, name = claims.get("sub"), claims.get(settings.name_claim)
    if not isinstance(subject, str) or not subject or not isinstance(name, str) or not name.strip():
        raise ClaimsError(
            f"the identity provider sends no {settings.name_claim}", remedy="add the claim to the client"
        )
    if settings.name_claim == "email" and claims.get("email_verified") is False:
        raise ClaimsError("the address is not verified at the identity provider")
    given = claims.get(settings.role_claim, [])
    values = given if isinstance(given, list) else [given]
    roles = {role for value in values for role in settings.role_map.get(str(value), ())}
    return Person(subject=subject, name=name, roles=frozenset(roles))
