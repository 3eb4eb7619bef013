"""The sealed local account: works without the identity provider, and never without an alarm."""

from __future__ import annotations

import base64
import hashlib
import secrets
from hmac import compare_digest

from firebreak.errors import SettingsError
from firebreak.policy.rules import Person

# OWASP Password Storage cheat sheet: scrypt with N=2^17, r=8, p=1.
COST, BLOCK, PARALLEL = 2**17, 8, 1
MEMORY = 256 * 1024 * 1024
SCHEME = "scrypt"
MIN_LENGTH = 20
"""A sealed password is printed and kept in a safe: nobody has to remember it."""

ACCOUNT = Person(subject="break-glass", name="break-glass", break_glass=True)


def hashed(password: str) -> str:
    """The hash for the settings; raises SettingsError for a password that could be guessed."""
    if len(password) < MIN_LENGTH:
        raise SettingsError("the password is too short", remedy=f"use at least {MIN_LENGTH} characters")
    salt = secrets.token_bytes(16)
    return "$".join((SCHEME, *(base64.b64encode(each).decode() for each in (salt, _key(password, salt)))))


def matches(password: str, stored: str) -> bool:
    """Whether the password is the sealed one; raises SettingsError when the stored hash is none."""
    scheme, _, rest = stored.partition("$")
    try:
        salt, key = (base64.b64decode(each, validate=True) for each in rest.split("$"))
    except ValueError as error:
        raise SettingsError("FIREBREAK_CONSOLE__BREAK_GLASS_HASH is no hash") from error
    if scheme != SCHEME:
        raise SettingsError("FIREBREAK_CONSOLE__BREAK_GLASS_HASH is of an unknown kind")
    return compare_digest(key, _key(password, salt))


def _key(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=PARALLEL, maxmem=MEMORY, dklen=32)
