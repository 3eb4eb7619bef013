"""Names of runs: one per workload, ids that sort, and names that cannot bend a query."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firebreak import runs, start
from firebreak.errors import UsageError
from firebreak.model import Cloud, Workload
from firebreak.settings import Settings


def test_the_run_id_follows_from_the_workload_alone() -> None:
    one = Workload(id="agent", cloud=Cloud.AWS, account="1" * 12, region="eu-central-1")
    assert start.workflow_id(one) == start.workflow_id(one.model_copy(update={"description": "other"}))
    others = [
        one.model_copy(update={"id": "agent-2"}),
        one.model_copy(update={"account": "2" * 12}),
        one.model_copy(update={"cloud": Cloud.AZURE}),
    ]
    assert len({start.workflow_id(each) for each in (one, *others)}) == 4


def test_incident_ids_sort_by_time_and_differ() -> None:
    made = [start.new_incident_id() for _ in range(50)]
    assert len(set(made)) == 50
    assert [each[:19] for each in made] == sorted(each[:19] for each in made)


@given(st.text())
def test_a_quoted_name_is_one_literal_or_refused(name: str) -> None:
    try:
        quoted = runs.quoted(name)
    except UsageError:
        return
    assert quoted == f"'{name}'"
    assert not set(name) & set("'\"\\`\n\r\x00")


def test_each_cloud_has_its_own_queue() -> None:
    queues = {start.cloud_queue(Settings(), cloud) for cloud in Cloud}
    assert queues == {"firebreak-aws", "firebreak-azure", "firebreak-gcp"}
