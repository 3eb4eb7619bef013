"""Reading bodies: the traps of each vendor's published shapes, and whatever else may come."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firebreak.web.webhook.alert import Alert, MalformedError, ResourceRef
from firebreak.web.webhook.envelopes import opened
from firebreak.web.webhook.fields import clean, moment, parsed
from firebreak.web.webhook.sources import ADAPTERS
from tests.firebreak.web.hooks import ACCOUNT, PAYLOADS, REGION, payload, put

IDS = {
    "$RESOURCE": f"arn:aws:iam::{ACCOUNT}:role/agents/agent-1",
    "$ROLE_NAME": "agent-1",
    "$INSTANCE": "i-0000000000000000a",
    "$ACCOUNT": ACCOUNT,
    "$REGION": REGION,
}
ROLE = ResourceRef(uid=f"arn:aws:iam::{ACCOUNT}:role/agent-1", account=ACCOUNT)
INSTANCE = ResourceRef(uid=IDS["$INSTANCE"], account=ACCOUNT, region=REGION)


def read(kind: str, **values: Any) -> Alert:
    return ADAPTERS[kind](payload(kind, IDS, **values))


def capitalised(value: Any) -> Any:
    if isinstance(value, dict):
        return {name[:1].upper() + name[1:]: capitalised(each) for name, each in value.items()}
    return [capitalised(each) for each in value] if isinstance(value, list) else value


def test_guardduty_is_read_in_both_published_spellings() -> None:
    body = payload("guardduty", IDS)
    lower = ADAPTERS["guardduty"](body)
    upper = ADAPTERS["guardduty"]({**body, "detail": capitalised(body["detail"])})
    assert lower == upper
    assert lower.resources == (ROLE,)
    assert (lower.severity_id, lower.state) == (4, "new")


def test_guardduty_names_users_machines_functions_and_buckets() -> None:
    resource = {
        "accessKeyDetails": {"userType": "IAMUser", "userName": "robot"},
        "instanceDetails": {
            "instanceId": IDS["$INSTANCE"],
            "networkInterfaces": [{"networkInterfaceId": "eni-0123456789abcdef0"}],
        },
        "lambdaDetails": {"functionArn": "arn:aws:lambda:eu-central-1:1:function:f"},
        "s3BucketDetails": [{"arn": "arn:aws:s3:::b"}],
    }
    named = [each.uid for each in read("guardduty", detail__resource=resource).resources]
    assert named == [
        f"arn:aws:iam::{ACCOUNT}:user/robot",
        IDS["$INSTANCE"],
        "eni-0123456789abcdef0",
        "arn:aws:lambda:eu-central-1:1:function:f",
        "arn:aws:s3:::b",
    ]


def test_an_update_of_a_guardduty_finding_is_another_event_of_the_same_finding() -> None:
    first = read("guardduty", detail__id="f", id="e1")
    update = read("guardduty", detail__id="f", id="e2", detail__service__count=2)
    assert first.finding_info.uid == update.finding_info.uid
    assert first.key != update.key
    assert update.state == "updated"


def test_a_comment_on_a_sentinel_incident_is_the_event_that_came_before() -> None:
    body = payload("sentinel", IDS)
    body["object"]["properties"]["additionalData"]["alertsCount"] = 1
    commented = json.loads(json.dumps(body))
    commented |= {"eventUniqueId": "another", "objectEventType": "Update"}
    commented["object"]["etag"] = "e-2"
    commented["object"]["properties"]["lastModifiedTimeUtc"] = "2026-11-23T10:00:00Z"
    commented["object"]["properties"]["additionalData"]["commentsCount"] = 1
    assert ADAPTERS["sentinel"](commented).key == ADAPTERS["sentinel"](body).key


@pytest.mark.parametrize(
    "values",
    [
        {"additionalData__alertsCount": 2},
        {"status": "Active"},
        {"classification": "TruePositive"},
        {"relatedEntities": [{"properties": {"resourceId": "arn:aws:s3:::another"}}]},
        {"alerts": [{"properties": {}}]},
    ],
)
def test_what_a_sentinel_incident_says_more_is_another_event(values: dict[str, Any]) -> None:
    body = payload("sentinel", IDS)
    before = ADAPTERS["sentinel"](body).key
    for path, value in values.items():
        put(body, ["object", "properties", *path.split("__")], value)
    assert ADAPTERS["sentinel"](body).key != before


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_the_key_is_the_same_for_the_same_event_and_differs_for_another(kind: str) -> None:
    body = payload(kind, IDS)
    assert ADAPTERS[kind](body).key == ADAPTERS[kind](json.loads(json.dumps(body))).key
    assert ADAPTERS[kind](body).key != read(kind).key


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_every_payload_names_its_time_its_severity_and_one_resource(kind: str) -> None:
    alert = read(kind)
    assert alert.time is not None
    assert abs((datetime.now(UTC) - alert.time).total_seconds()) < 5
    assert len(set(alert.resources)) == 1
    assert alert.severity_id > 0 or kind == "datadog"
    assert alert.finding_info.title
    assert not alert.sample


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("sentinel", {"object__properties__classification": "TruePositive"}),
        ("security_hub", {"detail__findings__0__VerificationState": "TRUE_POSITIVE"}),
        ("ocsf", {"verdict_id": 2}),
        ("splunk", {"result__confirmed": "true"}),
        ("elastic", {"confirmed": True}),
        ("falcosidekick", {"output_fields__confirmed": "yes"}),
    ],
)
def test_a_confirmed_finding_is_told_as_such(kind: str, values: dict[str, Any]) -> None:
    assert read(kind, **values).confirmed


def test_titles_and_messages_choose_no_resource() -> None:
    hostile = f"arn:aws:iam::{ACCOUNT}:role/agents/victim"
    for kind, field in (
        ("guardduty", "detail__title"),
        ("splunk", "search_name"),
        ("pagerduty", "event__data__title"),
    ):
        assert hostile not in [each.uid for each in read(kind, **{field: hostile}).resources]


def test_several_findings_of_one_event_are_one_alert_about_all_their_resources() -> None:
    body = payload("security_hub", IDS)
    other = json.loads(json.dumps(body["detail"]["findings"][0]))
    other["Resources"][0]["Id"] = "arn:aws:s3:::other"
    body["detail"]["findings"].append(other)
    assert len(ADAPTERS["security_hub"](body).resources) == 2
    other["RecordState"] = "ARCHIVED"
    assert len(ADAPTERS["security_hub"](body).resources) == 1


def test_envelopes_are_opened_whatever_their_order() -> None:
    inner = {"finding": "x"}
    in_sns = {"Type": "Notification", "Message": json.dumps(inner)}
    data = base64.b64encode(json.dumps(inner).encode()).decode()
    assert opened(in_sns) == inner
    assert opened({"message": {"data": data}, "subscription": "s"}) == inner
    assert opened({"body": inner, "headers": {}}) == inner
    assert opened({"body": in_sns}) == inner
    assert opened(inner) == inner


@pytest.mark.parametrize(
    "body",
    [
        {"Type": "Notification", "Message": "no json"},
        {"Type": "Notification", "Message": "[]"},
        {"Type": "Notification", "Message": "\ud800"},
        {"message": {"data": "%%%"}, "subscription": "s"},
        {"message": {"data": "é"}, "subscription": "s"},
        {"message": {"data": ""}, "subscription": "s"},
    ],
)
def test_an_envelope_without_an_alert_is_malformed(body: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        opened(body)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"{",
        b"\xff",
        b'{"a": ' * 5000,
        b"[" * 200_000,
        b'{"n": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda raw: f"{raw[:8]!r} {len(raw)}",
)
def test_what_is_no_json_object_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parsed(raw)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        [],
        {},
        "",
        "soon",
        "nan",
        "inf",
        "1e400",
        -1e20,
        1e300,
        "0001-01-01T00:00:00+23:59",
        "9" * 30,
    ],
)
def test_what_is_no_time_is_none(value: Any) -> None:
    assert moment({"at": value}, "at") is None


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05",
        1767323045,
        "1767323045.0",
        1767323045000,
        "1767323045000",
    ],
)
def test_times_are_read_in_every_way_they_are_written(value: Any) -> None:
    assert moment({"at": value}, "at") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_text_is_made_harmless() -> None:
    assert clean("a\x1b[31m\u202eb\nc\x00") == "a [31m b c"
    assert clean("\ud800") == "?"


def paths(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, each in children:
        yield (*at, name)
        yield from paths(each, (*at, name))


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.just("\ud800\x00")
    | st.just("x" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
@settings(max_examples=200)
@given(data=st.data())
def test_no_adapter_answers_anything_but_an_alert_or_malformed(kind: str, data: st.DataObject) -> None:
    body = json.loads(
        (PAYLOADS / f"{kind}.json").read_text().replace("$MILLISECONDS", "1").replace("$SECONDS", "1")
    )
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(list(paths(body)) or [("x",)]))
        spot = body
        for name in path[:-1]:
            spot = spot[name]
        spot[path[-1]] = data.draw(ANYTHING)
        if not isinstance(body, dict):
            break
    try:
        alert = ADAPTERS[kind](opened(body))
    except MalformedError:
        return
    assert Alert.model_validate_json(alert.model_dump_json()) == alert


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
@settings(max_examples=60)
@given(body=st.dictionaries(st.text(max_size=10), ANYTHING, max_size=4))
def test_no_adapter_stumbles_over_a_body_of_another_kind(kind: str, body: dict[str, Any]) -> None:
    try:
        ADAPTERS[kind](opened(body))
    except MalformedError:
        return
    pytest.fail(f"{kind} made an alert of {body}")
