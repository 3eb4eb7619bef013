"""Keys, hashes and claims, without a web process."""

from __future__ import annotations

from typing import Any

import pytest

from firebreak.errors import SettingsError
from firebreak.settings import ConsoleSettings, OidcSettings
from firebreak.web.identity import breakglass
from firebreak.web.identity.claims import ClaimsError, person_of
from firebreak.web.identity.sessions import Sessions

SEALED = "correct horse battery staple of the safe"
OIDC = OidcSettings(issuer="https://idp.example", client_id="c", role_map={"g1": ("responder", "viewer")})
CLAIMS = {"sub": "1", "email": "sam@example.org", "email_verified": True, "roles": ["g1", "g2"]}


def test_a_password_that_could_be_guessed_is_not_sealed() -> None:
    with pytest.raises(SettingsError, match="too short"):
        breakglass.hashed("hunter2")


def test_a_hash_is_salted_and_tells_nothing_of_the_password() -> None:
    sealed_hash = breakglass.hashed(SEALED)
    assert SEALED not in sealed_hash
    assert breakglass.matches(SEALED, sealed_hash)
    assert not breakglass.matches(f"{SEALED} ", sealed_hash)
    for broken in ("scrypt$x", "md5$YQ==$YQ==", ""):
        with pytest.raises(SettingsError):
            breakglass.matches(SEALED, broken)


def test_a_session_key_that_is_too_short_is_refused() -> None:
    settings = ConsoleSettings.model_validate({"session_key": "short"})
    with pytest.raises(SettingsError, match="SESSION_KEY is too short"):
        Sessions.open(settings, secure=True)


def test_only_roles_that_are_mapped_count() -> None:
    assert person_of(CLAIMS, OIDC).roles == {"responder", "viewer"}
    assert person_of(CLAIMS | {"roles": "g1"}, OIDC).roles == {"responder", "viewer"}
    assert person_of(CLAIMS | {"roles": ["commander"]}, OIDC).roles == frozenset()


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": ""},
        {"sub": None},
        {"email": " "},
        {"email": None},
        {"email": ["a"]},
        {"email_verified": False},
    ],
)
def test_claims_that_name_nobody_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(ClaimsError):
        person_of(CLAIMS | claims, OIDC)
