"""Who may do what, as a table: the default rules have to say exactly this."""

from __future__ import annotations

from pathlib import Path

import pytest

from firebreak.errors import SettingsError
from firebreak.model import Cloud, Mode, Workload
from firebreak.policy.rules import Action, Person, Rules

WORKLOAD = Workload(id="agent", cloud=Cloud.AWS, account="222222222222", region="eu-central-1")
SANDBOXED = WORKLOAD.model_copy(update={"id": "practice", "sandbox": True})

MAY = {
    "viewer": "view",
    "auditor": "view read_evidence",
    "responder": "view contain retry request_release",
    "approver": "view approve reject approve_release",
    "commander": "view contain retry approve reject proceed stop request_release approve_release "
    "read_evidence",
    "driller": "view",
    "stranger": "",
}


def person(*roles: str, name: str = "casey@example.org", **fields: bool) -> Person:
    return Person(subject=f"id-of-{name}", name=name, roles=frozenset(roles), **fields)


@pytest.fixture(scope="module")
def rules() -> Rules:
    return Rules.load()


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", MAY)
def test_a_role_may_do_what_its_line_says_and_no_more(rules: Rules, role: str, action: Action) -> None:
    ruling = rules.ask(person(role), action, WORKLOAD, requested_by="riley")
    assert ruling.allowed is (action in MAY[role].split()), ruling


def test_nobody_without_a_role_may_do_anything(rules: Rules) -> None:
    assert not any(rules.ask(person(), action, WORKLOAD).allowed for action in Action)


@pytest.mark.parametrize("action", [Action.APPROVE, Action.APPROVE_RELEASE])
@pytest.mark.parametrize("spelling", ["casey@example.org", " Casey@Example.org ", "CASEY@EXAMPLE.ORG"])
def test_nobody_approves_their_own_request(rules: Rules, action: Action, spelling: str) -> None:
    ruling = rules.ask(person("commander", "approver"), action, WORKLOAD, requested_by=spelling)
    assert not ruling.allowed
    assert "nobody-approves-their-own" in ruling.because


def test_a_ruling_names_the_rule_that_permits(rules: Rules) -> None:
    assert rules.ask(person("responder"), Action.CONTAIN, WORKLOAD).because == ("responders-contain",)


def test_practice_is_for_sandboxes_and_for_drills_only(rules: Rules) -> None:
    driller = person("driller")
    assert rules.ask(driller, Action.CONTAIN, SANDBOXED, mode=Mode.DRILL).allowed
    assert not rules.ask(driller, Action.CONTAIN, SANDBOXED, mode=Mode.LIVE).allowed
    assert not rules.ask(driller, Action.CONTAIN, WORKLOAD, mode=Mode.DRILL).allowed


def test_the_sealed_account_contains_and_never_gives_back(rules: Rules) -> None:
    sealed = person("commander", name="break-glass", break_glass=True)
    may = {action for action in Action if rules.ask(sealed, action, WORKLOAD).allowed}
    assert {Action.VIEW, Action.CONTAIN, Action.RETRY, Action.STOP} <= may
    assert not {Action.REQUEST_RELEASE, Action.APPROVE_RELEASE, Action.PROCEED} & may


@pytest.mark.parametrize("subject", ['x" || true || "', "a\\", "ü\n", 'User::"y"'])
def test_a_subject_cannot_speak_cedar(rules: Rules, subject: str) -> None:
    odd = Person(subject=subject, name="odd", roles=frozenset({"viewer"}))
    assert rules.ask(odd, Action.VIEW, WORKLOAD).allowed
    assert not rules.ask(odd, Action.CONTAIN, WORKLOAD).allowed


def test_own_rules_may_look_at_the_workload(tmp_path: Path) -> None:
    own = tmp_path / "own.cedar"
    own.write_text(
        'permit (principal in Role::"responder", action == Action::"contain", resource)'
        ' when { resource.risk_tier < 7 && resource.cloud == "aws" };',
        encoding="utf-8",
    )
    rules, responder = Rules.load(own), person("responder")
    crown = WORKLOAD.model_copy(update={"risk_tier": "L8"})
    assert rules.ask(responder, Action.CONTAIN, WORKLOAD).allowed
    assert not rules.ask(responder, Action.CONTAIN, crown).allowed


@pytest.mark.parametrize(
    "text",
    [
        "permit (principal, action, resource",
        'permit (principal, action == Action::"delete", resource);',
        "permit (principal, action, resource) when { resource.colour == 1 };",
        'permit (principal in Group::"x", action, resource);',
    ],
)
def test_rules_that_cannot_be_used_are_refused_before_anything_is_decided(tmp_path: Path, text: str) -> None:
    own = tmp_path / "own.cedar"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="the rules cannot be used") as caught:
        Rules.load(own)
    assert caught.value.resource == str(own)


def test_a_file_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        Rules.load(tmp_path / "nothing.cedar")
