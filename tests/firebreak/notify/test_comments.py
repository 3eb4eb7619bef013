"""Comments on alerts, against strict vendors: what is sent, what never is, and what failures mean."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.inputs import Page
from activities.notify import Channel, NotifyActivities
from firebreak.devserver import free_port
from firebreak.errors import CommentRefusedError, NotCommentedError, NotDeliveredError, SettingsError
from firebreak.model import Cloud, Mode, Phase, Verdict
from firebreak.notify import channels, commenting
from firebreak.notify.comments import PLACES
from firebreak.record import COMMENTED_ALERTS, AlertRef, Trigger, alert_refs
from firebreak.settings import CommentSettings, Settings, load_settings
from tests.firebreak.notify.vendors import INCIDENTS, ISSUED, SECRET, WORKSPACE, Vendors, key_file, vendors

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GUID = "0a0a0a0a-0000-4000-8000-00000000000a"
IDS = {
    "pagerduty": "Q1ABCDEFGHIJKL",
    "splunk": f"{GUID.upper()}@@notable@@cb87390ae72763679d3f6f8f097ebe2b",
    "elastic": "d3a1d35a3e84a81b2f8f3859e064c224cdee1b4bcbf66f57d124dcc739c98e6b",
    "sentinel": f"{INCIDENTS}/{GUID}",
    "wiz": GUID,
    "scc": "organizations/1/sources/2/locations/global/findings/3c3c",
}
SECRETS = (SECRET, ISSUED, "PRIVATE KEY", "eyJ")
"""What nobody may see, and how an assertion begins."""

GATE = "Firebreak INC-1: phase 2 network isolate: contained"

each_place = pytest.mark.parametrize("place", sorted(PLACES))


@pytest.fixture
def vendor() -> Iterator[Vendors]:
    with vendors() as running:
        running.known.update(IDS.values())
        yield running


def page(*alerts: AlertRef, kind: str = "gate", **fields: Any) -> Page:
    usual = {
        "incident_id": "INC-1",
        "kind": kind,
        "message": "phase 2 network isolate: contained",
        "phase": Phase.NETWORK_ISOLATE,
        "verdict": Verdict.CONTAINED,
        "workload_id": "agent",
        "cloud": Cloud.AWS,
        "at": AT,
        "alerts": alerts,
    }
    return Page.model_validate(usual | fields)


def alert(place: str, finding: str = "") -> AlertRef:
    return AlertRef(source=place, finding=finding or IDS[place])


def comments_on(settings: CommentSettings, about: Page, console: str = "") -> list[Channel]:
    told = Settings.model_validate({"comments": settings, "console": {"public_url": console}})
    made = commenting(told)
    assert made is not None
    return list(made.on(about))


def the_comment(vendor: Vendors, place: str, finding: str = "", **settings: Any) -> tuple[Channel, Page]:
    about = page(alert(place, finding))
    (comment,) = comments_on(vendor.settings(place, **settings), about)
    return comment, about


@each_place
async def test_the_alert_says_in_one_line_what_became_of_it(vendor: Vendors, place: str) -> None:
    about = page(alert(place))
    (comment,) = comments_on(vendor.settings(place), about, "https://firebreak.example.org/")
    await comment.deliver(about)
    assert vendor.refusals == []
    assert vendor.comments == {
        IDS[place]: [
            f"{GATE} https://firebreak.example.org/incidents/INC-1",
        ]
    }


@each_place
async def test_every_alert_of_a_run_is_told_at_its_own_place(vendor: Vendors, place: str) -> None:
    about = page(*(alert(each) for each in PLACES), AlertRef(source="falco", finding="f"))
    mine = [each for each in comments_on(vendor.settings(), about) if f"({place})" in each.name]
    assert len(mine) == 1
    await mine[0].deliver(about)
    assert list(vendor.comments) == [IDS[place]]


@pytest.mark.parametrize(
    ("kind", "message", "text"),
    [
        ("started", "agent (aws, live): containment asked for by siem (key 1)", None),
        ("verdict", "agent: released", None),
        (
            "decision_needed",
            "not proved: deny arn:aws:iam::1:role/secret",
            "waits for the decision of a person",
        ),
        ("gate", "phase 1\r\n\x1b[31midentity\u2028revoke", "phase 1 [31midentity revoke"),
    ],
)
async def test_a_line_is_one_line_and_gives_no_reasons_away(
    vendor: Vendors, kind: str, message: str, text: str | None
) -> None:
    about = page(alert("pagerduty"), kind=kind, message=message)
    (comment,) = comments_on(vendor.settings("pagerduty"), about)
    await comment.deliver(about)
    assert vendor.comments[IDS["pagerduty"]] == [f"Firebreak INC-1: {text or message}"]


async def test_a_drill_is_called_one(vendor: Vendors) -> None:
    about = page(alert("pagerduty"), mode=Mode.DRILL, message="m" * 5000)
    (comment,) = comments_on(vendor.settings("pagerduty"), about)
    await comment.deliver(about)
    (text,) = vendor.comments[IDS["pagerduty"]]
    assert text.startswith("Firebreak INC-1 (drill): m")
    assert len(text) == 500


@pytest.mark.parametrize("kind", ["warning", "breach", "decided", "unresolved_alert", "break_glass"])
def test_other_pages_are_for_people_alone(vendor: Vendors, kind: str) -> None:
    assert comments_on(vendor.settings(), page(alert("pagerduty"), kind=kind)) == []


def test_nobody_comments_who_was_not_asked_to() -> None:
    assert commenting(Settings()) is None


def test_the_source_of_an_alert_finds_the_place_by_the_name_that_we_gave_it(vendor: Vendors) -> None:
    settings = vendor.settings("pagerduty")
    assert settings.pagerduty is not None
    renamed = settings.model_copy(
        update={"pagerduty": settings.pagerduty.model_copy(update={"sources": ("pd-eu",)})}
    )
    assert comments_on(renamed, page(alert("pagerduty"))) == []
    assert len(comments_on(renamed, page(AlertRef(source="pd-eu", finding=IDS["pagerduty"])))) == 1


GENERAL = (
    "../../users/PABCDEF",
    "PABCDEF/../../users",
    "%2e%2e%2fusers",
    "PABCDEF\r\nHost: evil.example",
    "PABCDEF\n",
    "https://evil.example/x",
    "//evil.example/x",
    "@evil.example",
    "PABCDEF?user=1",
    "PABCDEF#",
    "PABCDEF;x",
    "PABC DEF",
    "\uff30\uff21\uff22\uff23\uff24\uff25\uff26",
    "PABCDEF\u0661",
    "-",
    "x" * 512,
)
OWN = {
    "splunk": (
        f"{IDS['splunk']}&ruleUIDs=other",
        f"{IDS['splunk']},other",
        "scheduler_admin_search_W2_at_1",
        GUID,
    ),
    "elastic": (f'{IDS["elastic"]}","x":"', "a/b" * 10),
    "sentinel": (
        GUID,
        f"{INCIDENTS}/../Incidents/{GUID}",
        f"{INCIDENTS}/{GUID}/comments/{GUID}",
        f"{INCIDENTS}/{GUID}/",
        f"{INCIDENTS.replace('soc-workspace', 'another')}/{GUID}",
        f"https://evil.example{INCIDENTS}/{GUID}",
        f"{INCIDENTS}/{GUID}?x=",
    ),
    "wiz": (f"{GUID}0", f"{GUID}\n"),
    "scc": (
        "organizations/12/sources/2/findings/3",
        "organizations/1/sources/2/findings/../../../2",
        "organizations/1/sources/2/findings/3/securityMarks",
        "organizations/1/assets/3",
        "organizations/1/../2/sources/2/findings/3",
        "organizations/1/sources/2/locations/global/findings/3?updateMask=",
        "//organizations/1/sources/2/findings/3",
    ),
}


@each_place
async def test_an_id_of_another_form_makes_no_request_and_says_so(vendor: Vendors, place: str) -> None:
    for finding in (*GENERAL, *OWN.get(place, ())):
        comment, about = the_comment(vendor, place, finding)
        with pytest.raises(CommentRefusedError, match="no comment was sent") as caught:
            await comment.deliver(about)
        assert finding == "-" or finding not in str(caught.value)
        assert finding == "-" or finding not in comment.name
    assert vendor.calls == []


def test_arm_ids_ignore_case_and_the_request_has_the_case_of_the_settings(vendor: Vendors) -> None:
    place = PLACES["sentinel"](vendor.settings("sentinel").sentinel, 5)
    assert place.identified(f"{INCIDENTS.upper()}/{GUID}") == GUID


async def test_a_redirect_is_not_followed(vendor: Vendors) -> None:
    with vendors() as elsewhere:
        vendor.status, vendor.location = 307, f"{elsewhere.url}/pagerduty/incidents/{IDS['pagerduty']}/notes"
        comment, about = the_comment(vendor, "pagerduty")
        with pytest.raises(CommentRefusedError, match="answered 307"):
            await comment.deliver(about)
        assert elsewhere.calls == []


@each_place
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, CommentRefusedError),
        (401, CommentRefusedError),
        (403, CommentRefusedError),
        (404, CommentRefusedError),
        (429, NotCommentedError),
        (500, NotCommentedError),
        (503, NotCommentedError),
    ],
)
async def test_what_an_answer_means_and_no_secret_in_words_or_log(
    vendor: Vendors,
    caplog: pytest.LogCaptureFixture,
    place: str,
    status: int,
    error: type[NotDeliveredError],
) -> None:
    vendor.status = status
    caplog.set_level(logging.DEBUG)
    comment, about = the_comment(vendor, place)
    with capture_logs() as entries, pytest.raises(NotDeliveredError) as caught:
        await comment.deliver(about)
    assert type(caught.value) is error
    assert f"{place} answered {status}" in str(caught.value)
    said = f"{caught.value} {entries} {caplog.text}"
    assert not [secret for secret in SECRETS if secret in said]


@each_place
async def test_an_alert_that_is_gone_is_refused_and_not_tried_again(vendor: Vendors, place: str) -> None:
    vendor.known.clear()
    comment, about = the_comment(vendor, place)
    with pytest.raises(CommentRefusedError) as caught:
        await comment.deliver(about)
    assert not caught.value.retryable
    assert vendor.comments == {}


@each_place
async def test_a_wrong_secret_is_refused(vendor: Vendors, place: str) -> None:
    other = "another-secret"
    section = getattr(vendor.settings(place), place)
    names = {"token", "api_key", "client_secret"} & set(type(section).model_fields)
    if place == "scc":
        section = section.model_copy(update={"token_url": f"{vendor.url}/elsewhere"})
    dump = {name: getattr(section, name) for name in type(section).model_fields}
    settings = CommentSettings.model_validate({place: dump | dict.fromkeys(names, other)})
    about = page(alert(place))
    (comment,) = comments_on(settings, about)
    with pytest.raises(CommentRefusedError, match=r"answered 40[14]"):
        await comment.deliver(about)
    assert vendor.comments == {}


@each_place
async def test_a_place_that_is_away_is_tried_again(place: str) -> None:
    away = Vendors(url=f"http://127.0.0.1:{free_port()}")
    comment, about = the_comment(away, place)
    with pytest.raises(NotCommentedError, match=f"{place} cannot be reached") as caught:
        await comment.deliver(about)
    assert caught.value.retryable
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("place", ["sentinel", "wiz", "scc"])
async def test_an_answer_without_a_token_is_refused(vendor: Vendors, place: str) -> None:
    vendor.status = 200
    comment, about = the_comment(vendor, place)
    with pytest.raises(CommentRefusedError, match="sent no token"):
        await comment.deliver(about)
    assert len(vendor.calls) == 1


async def test_a_sentinel_comment_that_is_sent_again_is_the_same_one(vendor: Vendors) -> None:
    comment, about = the_comment(vendor, "sentinel")
    await comment.deliver(about)
    await comment.deliver(about)
    first, second = (call.path for call in vendor.calls if call.method == "PUT")
    assert first == second


@pytest.mark.parametrize(
    ("section", "wrong", "words"),
    [
        ("pagerduty", {"url": "http://api.pagerduty.com"}, "must be an https URL"),
        ("pagerduty", {"url": "https://api.pagerduty.com?x=1"}, "an address alone"),
        ("pagerduty", {"url": "https://user:pass@api.pagerduty.com"}, "an address alone"),
        ("pagerduty", {"token": f"{SECRET}\n"}, "printable ASCII"),
        ("pagerduty", {"token": ""}, "printable ASCII"),
        ("pagerduty", {"from_email": "a@b\r\nX: y"}, "match pattern"),
        ("sentinel", {"workspace": f"{WORKSPACE}/../other"}, "match pattern"),
        ("sentinel", {"workspace": f"{WORKSPACE}\n"}, "match pattern"),
        ("scc", {"parent": "organizations/1/sources/2"}, "match pattern"),
        ("splunk", {"sources": []}, "at least 1 item"),
        ("splunk", {"sources": ["pagerduty"]}, "named twice"),
    ],
)
def test_settings_that_lead_elsewhere_are_refused(
    vendor: Vendors, section: str, wrong: dict[str, Any], words: str
) -> None:
    told = vendor.settings()
    dump = {
        name: {field: getattr(getattr(told, name), field) for field in type(getattr(told, name)).model_fields}
        for name in PLACES
    }
    dump[section] |= wrong
    with pytest.raises(ValidationError, match=words) as caught:
        CommentSettings.model_validate(dump)
    assert SECRET not in "; ".join(each["msg"] for each in caught.value.errors())


def test_settings_come_from_the_variables_that_are_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREBREAK_COMMENTS__PAGERDUTY__TOKEN", SECRET)
    monkeypatch.setenv("FIREBREAK_COMMENTS__PAGERDUTY__FROM_EMAIL", "firebreak@example.org")
    monkeypatch.setenv("FIREBREAK_COMMENTS__PAGERDUTY__SOURCES", '["pagerduty-eu"]')
    monkeypatch.setenv("FIREBREAK_COMMENTS__SCC__PARENT", "organizations/1")
    monkeypatch.setenv("FIREBREAK_COMMENTS__SCC__SERVICE_ACCOUNT", key_file())
    settings = load_settings()
    assert settings.comments.chosen() == ("pagerduty-eu", "scc")
    assert commenting(settings) is not None
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"client_email": "a"}', key_file().replace("BEGIN", "BEGUN")]
)
def test_a_key_file_that_cannot_sign_is_refused_at_the_start(vendor: Vendors, text: str) -> None:
    told = vendor.settings("scc").model_dump()
    told["scc"]["service_account"] = text
    with pytest.raises(SettingsError, match="FIREBREAK_COMMENTS__SCC__SERVICE_ACCOUNT is no key") as caught:
        commenting(Settings.model_validate({"comments": told}))
    assert "PRIVATE" not in str(caught.value)


def test_each_finding_is_told_once_and_a_storm_is_cut() -> None:
    asked = {"source": "siem", "reason": "r", "requested_by": "x", "received_at": AT}
    triggers = [Trigger.model_validate(asked | {"finding": f"f{n % 30}"}) for n in range(90)]
    triggers.insert(0, Trigger.model_validate(asked))
    refs = alert_refs(triggers)
    assert [each.finding for each in refs] == [f"f{n}" for n in range(COMMENTED_ALERTS)]


async def test_only_what_may_still_arrive_is_tried_again_and_what_was_refused_is_said(
    vendor: Vendors,
) -> None:
    with vendors() as other:
        other.known.add(IDS["wiz"])
        settings = vendor.settings("pagerduty", "elastic").model_copy(
            update={"wiz": other.settings("wiz").wiz}
        )
        vendor.known.discard(IDS["elastic"])
        other.status = 503
        activities = activities_with(settings)
        about = page(alert("pagerduty"), alert("elastic"), alert("wiz"))
        details, error = await attempted(activities, about)
        assert (error.type, error.non_retryable) == ("NotCommentedError", False)
        other.status = 0
        details, error = await attempted(activities, about, *details)
        assert (error.type, error.non_retryable) == ("CommentRefusedError", True)
        assert error.message == "elastic answered 404 to a comment"
        assert len(vendor.comments[IDS["pagerduty"]]) == len(other.comments[IDS["wiz"]]) == 1
        assert len(vendor.calls) == 2


async def test_people_who_were_not_reached_come_before_comments(vendor: Vendors) -> None:
    vendor.status = 503
    pager = {"pagerduty_key": SECRET, "pagerduty_url": f"http://127.0.0.1:{free_port()}"}
    told = Settings.model_validate({"comments": vendor.settings("pagerduty"), "notify": pager})
    activities = NotifyActivities(channels(told), commenting(told))
    _, error = await attempted(activities, page(alert("pagerduty"), kind="verdict"))
    assert error.type == "NotDeliveredError"


def activities_with(settings: CommentSettings) -> NotifyActivities:
    return NotifyActivities((), commenting(Settings(comments=settings)))


async def attempted(
    activities: NotifyActivities, about: Page, *details: str
) -> tuple[tuple[str, ...], ApplicationError]:
    """The heartbeat details after an attempt that began with those, and what it raised."""
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, heartbeat_details=details)
    beats: list[tuple[str, ...]] = []
    environment.on_heartbeat = lambda *values: beats.append(values)
    with pytest.raises(ApplicationError) as caught:
        await environment.run(activities.notify, about)
    return beats[-1], caught.value
