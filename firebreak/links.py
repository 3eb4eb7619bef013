"""Signed links: each lets one named person answer one question of one run, for a while.

A link says who answers what and until when; what the person may do is asked of the rules when it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer
from pydantic import AwareDatetime, ValidationError

from firebreak.errors import SettingsError
from firebreak.model import FrozenModel
from firebreak.people import same_person
from firebreak.policy.rules import Person
from firebreak.record import Question
from firebreak.settings import LinkedPerson, LinkSettings, Settings

PATH = "/answer"
MIN_SECRET = 32
"""Characters of a secret: as many bits as the hash that it feeds (RFC 2104, section 3)."""


class Link(FrozenModel):
    """What a link says, once its signature was checked."""

    incident_id: str
    workflow_id: str
    run_id: str
    asked_at: AwareDatetime
    """Tells one question of a run from every other."""
    subject: str
    ends_at: AwareDatetime


@dataclass(frozen=True)
class Links:
    """Makes links and reads them."""

    settings: LinkSettings
    address: str
    """Of the console, without a slash at the end."""

    @classmethod
    def open(cls, settings: Settings) -> Links:
        """The links of the settings; raises SettingsError for those that could not be trusted."""
        links = settings.links
        address = settings.console.public_url.rstrip("/")
        if links.people and not links.secrets:
            raise SettingsError("FIREBREAK_LINKS__SECRETS is missing", remedy="openssl rand -base64 32")
        if any(len(secret.get_secret_value()) < MIN_SECRET for secret in links.secrets):
            raise SettingsError(
                "FIREBREAK_LINKS__SECRETS: one is too short", remedy=f"use at least {MIN_SECRET} characters"
            )
        if links.people and not _is_private(address):
            raise SettingsError(
                "links need an https address in FIREBREAK_CONSOLE__PUBLIC_URL", resource=address
            )
        _refuse_twins(links.people)
        return cls(links, address)

    def url(self, incident_id: str, question: Question, person: LinkedPerson) -> str:
        """The address at which the person answers; the same each time it is asked for."""
        token = self._serializer().dumps(
            [
                incident_id,
                question.workflow_id,
                question.run_id,
                question.asked_at.isoformat(),
                person.subject,
                self.ends_at(question).isoformat(),
            ]
        )
        return f"{self.address}{PATH}/{token}"

    def ends_at(self, question: Question) -> datetime:
        """When the links of a question end: after their life, or with the question."""
        own = question.asked_at + timedelta(minutes=self.settings.life_minutes)
        return (min(own, question.until) if question.until else own).astimezone(UTC)

    def read(self, token: str) -> Link | None:
        """What a link says; None for anything that we did not sign."""
        if not self.settings.secrets:
            return None
        try:
            said: Any = self._serializer().loads(token)
            return Link.model_validate(dict(zip(Link.model_fields, said, strict=True)))
        except (BadData, ValidationError, TypeError, ValueError):
            return None

    def person(self, link: Link) -> Person | None:
        """Whom a link was made for, with the roles that they have now; None where they have left."""
        found = next((each for each in self.settings.people if each.subject == link.subject), None)
        return as_person(found) if found else None

    def _serializer(self) -> URLSafeSerializer:
        """HMAC-SHA256; itsdangerous signs with the last key and takes every one."""
        keys = [secret.get_secret_value() for secret in reversed(self.settings.secrets)]
        how = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return URLSafeSerializer(keys, salt="firebreak link 1", signer_kwargs=how)


def as_person(listed: LinkedPerson) -> Person:
    """A person of the settings, as the rules know people."""
    return Person(subject=listed.subject, name=listed.name, roles=frozenset(listed.roles))


def _refuse_twins(people: Sequence[LinkedPerson]) -> None:
    """One person listed twice could be two approvers."""
    for number, one in enumerate(people):
        for other in people[:number]:
            if one.subject == other.subject or same_person(one.name, other.name):
                raise SettingsError("FIREBREAK_LINKS__PEOPLE lists one person twice", resource=one.name)


def _is_private(address: str) -> bool:
    """Whether nobody on the way reads what is sent there: TLS, or this machine."""
    parts = urlsplit(address)
    if parts.scheme == "https":
        return bool(parts.hostname)
    try:
        return parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
    except ValueError:  # a name
        return parts.scheme == "http" and parts.hostname == "localhost"
