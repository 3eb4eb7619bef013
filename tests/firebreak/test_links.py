"""Signed links: what they say, how long they live, and with which settings there are none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from firebreak.errors import SettingsError
from firebreak.links import Links
from firebreak.record import Question
from firebreak.settings import Settings, load_settings

CONSOLE = "https://firebreak.example.org"
SECRET, OTHER = "one that nobody could ever guess 1", "one that nobody could ever guess 2"
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SAM = {"subject": "sub-1", "name": "sam@example.org", "roles": ["approver"], "url": "json://127.0.0.1/sam"}
KIM = {"subject": "sub-2", "name": "kim@example.org", "roles": ["approver"], "url": "json://127.0.0.1/kim"}


def links(*people: dict[str, Any], console: str = CONSOLE, **fields: Any) -> Links:
    section = {"people": people or (SAM, KIM), "secrets": [SECRET], **fields}
    return Links.open(Settings.model_validate({"links": section, "console": {"public_url": console}}))


def question(**fields: Any) -> Question:
    usual = {
        "workflow_id": "containment-1",
        "run_id": "run-1",
        "kind": "approval",
        "requested_by": "riley",
        "asked_at": AT,
    }
    return Question.model_validate(usual | fields)


def token(made: Links, asked: Question, number: int = 0) -> str:
    url = made.url("INC-1", asked, made.settings.people[number])
    assert url.startswith(f"{CONSOLE}/answer/")
    return url.rpartition("/")[2]


def test_a_link_says_who_answers_which_question_and_until_when() -> None:
    made = links()
    link = made.read(token(made, question()))
    assert link is not None
    assert (link.incident_id, link.workflow_id, link.run_id) == ("INC-1", "containment-1", "run-1")
    assert (link.asked_at, link.subject) == (AT, "sub-1")
    assert link.ends_at == AT + timedelta(hours=1)
    found = made.person(link)
    assert found is not None
    assert (found.name, found.break_glass) == ("sam@example.org", False)
    assert found.roles == {"approver"}


def test_a_link_is_the_same_each_time_it_is_sent_and_another_for_everybody_and_every_question() -> None:
    made = links()
    assert token(made, question()) == token(made, question())
    others = [
        token(made, question(), 1),
        token(made, question(run_id="run-2")),
        token(made, question(asked_at=AT + timedelta(microseconds=1))),
    ]
    assert len({token(made, question()), *others}) == 4


@pytest.mark.parametrize(("until", "ends"), [(None, 90), (30, 30), (90, 90), (600, 90)])
def test_no_link_lives_longer_than_its_question(until: int | None, ends: int) -> None:
    made = links(life_minutes=90)
    asked = question(until=AT + timedelta(minutes=until) if until else None)
    link = made.read(token(made, asked))
    assert link is not None
    assert link.ends_at == AT + timedelta(minutes=ends)


def test_nothing_is_read_that_was_signed_for_something_else_or_says_something_else() -> None:
    made = links()
    signed = made._serializer()
    assert made.read(signed.dumps(["INC-1"])) is None
    assert made.read(signed.dumps({"incident_id": "INC-1"})) is None
    assert made.read(signed.dumps(None)) is None
    session = type(signed)(SECRET, salt="firebreak session 1")
    assert made.read(session.dumps(list(range(6)))) is None


def test_without_a_secret_there_are_no_links() -> None:
    assert links(SAM).read("x") is None
    none = Links.open(Settings())
    assert none.read(token(links(), question())) is None


def test_the_first_secret_signs_and_every_one_is_taken() -> None:
    old, both, new = links(), links(secrets=[OTHER, SECRET]), links(secrets=[OTHER])
    assert both.read(token(old, question())) is not None
    assert new.read(token(both, question())) is not None
    assert old.read(token(both, question())) is None
    assert new.read(token(old, question())) is None


@pytest.mark.parametrize(
    ("people", "fields", "told"),
    [
        ((SAM,), {"secrets": []}, "SECRETS is missing"),
        ((SAM,), {"secrets": [SECRET, "short"]}, "too short"),
        ((SAM,), {"console": ""}, "https address"),
        ((SAM,), {"console": "http://firebreak.example.org"}, "https address"),
        ((SAM, SAM | {"name": "other"}), {}, "twice"),
        ((SAM, KIM | {"name": " SAM@Example.org"}), {}, "twice"),
    ],
)
def test_settings_that_could_not_be_trusted_are_refused_without_a_secret_in_the_words(
    people: tuple[dict[str, Any], ...], fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(SettingsError, match=told) as raised:
        links(*people, **fields)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("console", ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080"])
def test_this_machine_needs_no_tls(console: str) -> None:
    assert links(console=console).address == console


def test_people_and_secrets_come_from_the_environment_and_are_not_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(
        "FIREBREAK_LINKS__PEOPLE",
        '[{"subject": "1", "name": "sam@example.org", "roles": ["approver"], "url": "slack://T/B/secret"}]',
    )
    monkeypatch.setenv("FIREBREAK_LINKS__SECRETS", f'["{SECRET}"]')
    settings = load_settings()
    assert settings.links.people[0].roles == ("approver",)
    assert SECRET not in repr(settings)
    assert "slack" not in repr(settings)
