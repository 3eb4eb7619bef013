from __future__ import annotations

import pytest

from firebreak.cli import coverage
from firebreak.cli.coverage import Action, actions
from firebreak.errors import SettingsError
from firebreak.model import Cloud, Phase

CLOUDS = (Cloud.AWS, Cloud.AZURE)


def test_every_measure_answers_one_action_in_its_own_phase() -> None:
    assert {action.phase for action in actions(CLOUDS)} == set(Phase)


def test_a_cell_names_measures_or_says_why_there_are_none() -> None:
    for action in actions(CLOUDS):
        for cloud in Cloud:
            cell = action.cell(cloud)
            assert cell.startswith(("`", "unsupported: "))
            assert cell not in {"`", "unsupported: "}


@pytest.mark.parametrize("change", ["missing", "unknown", "other phase"])
def test_a_table_that_is_not_what_is_registered_is_refused(change: str) -> None:
    found = list(actions(CLOUDS))
    first = found[0]
    altered = {
        "missing": first.model_copy(update={"clouds": {}}),
        "unknown": first.model_copy(update={"clouds": {**first.clouds, Cloud.AWS: ("aws.nothing",)}}),
        "other phase": first.model_copy(update={"phase": Phase.FORENSIC_CAPTURE}),
    }
    with pytest.raises(SettingsError, match=r"coverage\.yaml lacks"):
        coverage._check([altered[change], *found[1:]], CLOUDS)


def test_a_reason_is_needed() -> None:
    with pytest.raises(ValueError, match="unsupported"):
        Action.model_validate({"phase": 1, "action": "x", "aws": {"unsupported": ""}})
