"""What every measure is held to, whatever its cloud; test_aws.py and test_azure.py bring the lives."""

from __future__ import annotations

import re

from pydantic import TypeAdapter

from firebreak.codec import data_converter
from firebreak.errors import Irreversible
from firebreak.model import Finding
from firebreak.settings import Settings
from tests.contract.lives import Life, holds, observed

GIVES_BACK = {"sqs:ChangeMessageVisibilityBatch"}
"""Reading a queue's messages hides them for a while; showing them again is no change."""


class Contract:
    """The checks of one measure's lives, one for each of its targets."""

    def test_it_has_a_target_in_the_sample(self, lives: list[Life]) -> None:
        assert lives

    def test_looking_changes_nothing(self, lives: list[Life]) -> None:
        assert [life.idle_writes for life in lives] == [[] for _ in lives]

    def test_applied_it_changes_something(self, lives: list[Life]) -> None:
        assert any(life.change.changed for life in lives)
        for life in lives:
            assert life.change.changed == bool(life.effects), life.target.key
            assert life.change.before == life.state.values
            assert (life.change.measure, life.change.target) == (life.kind.name, life.target)

    def test_applied_twice_it_is_one_change(self, lives: list[Life]) -> None:
        for life in lives:
            assert set(life.effects_again) <= GIVES_BACK, life.target.key
            assert life.again.before == life.change.before

    def test_without_effect_its_verification_does_not_hold(self, lives: list[Life]) -> None:
        for life in lives:
            if life.change.changed:  # an interface without a public address had nothing to detach
                assert not holds(life.without_effect), (life.target.key, life.without_effect)

    def test_in_force_its_verification_holds(self, lives: list[Life]) -> None:
        for life in lives:
            assert holds(life.in_force), (life.target.key, life.in_force)

    def test_reverted_the_observed_state_is_exactly_as_before(self, lives: list[Life]) -> None:
        for life in lives:
            if life.kind.irreversible:
                assert isinstance(life.reverted, Irreversible), life.target.key
                assert life.kind.irreversible in str(life.reverted)
            else:
                assert isinstance(life.reverted, Finding)
                assert life.reverted.holds, (life.target.key, life.reverted)
                assert observed(life.restored) == observed(life.state.values), life.target.key

    def test_reverted_twice_it_does_no_harm(self, lives: list[Life]) -> None:
        for life in lives:
            assert type(life.reverted_again) is type(life.reverted)
            if isinstance(life.reverted_again, Finding):
                assert life.reverted_again.holds, (life.target.key, life.reverted_again)
                assert observed(life.still_restored) == observed(life.state.values), life.target.key

    def test_its_change_and_its_findings_survive_temporals_data_converter(self, lives: list[Life]) -> None:
        converter = data_converter(Settings()).payload_converter
        for life in lives:
            for value in (life.change, life.state, *life.in_force):
                payload = converter.to_payload(value)
                assert converter.from_payload(payload, type(value)) == value
                assert TypeAdapter(type(value)).validate_json(value.canonical()) == value

    def test_its_change_holds_no_secret(self, lives: list[Life]) -> None:
        for life in lives:
            text = life.change.model_dump_json() + life.state.model_dump_json()
            assert not re.search(r"SessionToken|SecretAccessKey|secret_access_key|aws_session_token", text)
