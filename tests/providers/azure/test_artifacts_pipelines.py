from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from firebreak.errors import PermanentCloudError, TransientCloudError
from providers.azure.artifacts.builds import DEVOPS_VERSION
from providers.azure.resources.artifacts import DevOpsPipeline, GitHubWorkflow
from tests.providers.azure.driving import Step
from tests.providers.driving import holds, patiently

DEVOPS_AUDIENCE = "499b84ac-1321-427f-aa17-267ca6975798"
RIGHTS = ["view", "edit"]


class DevOps:
    """One project of Azure DevOps with one pipeline; ``step`` makes the responder a user there."""

    disabled, enabled = "disabled", "enabled"

    def __init__(self, world: Any) -> None:
        self.world, self.org = world, f"org{uuid4().hex[:8]}"
        self.ref = f"https://dev.azure.com/{self.org}/agents/_build?definitionId=7"
        self.seed(definitions={"7": "promote"})
        self.owner = world.principal(f"owner-{uuid4().hex[:6]}")
        self.seed(rights={self.owner.object_id: ["view", "edit", "queue"]})

    def seed(self, **more: Any) -> Any:
        body = {"org": self.org, "project": "agents", **more}
        return self.world.sandbox.request("POST", "/devops/project", body)

    def step(self, world: Any, *, owner: str = "agent", rights: Any = RIGHTS) -> Step:
        pipeline = DevOpsPipeline(kind="devops-pipeline", ref=self.ref)
        step = Step(world, "azure.disable-pipeline", owner=owner, pipelines=(pipeline,))
        claims = step.measure.access.reached().claims(f"{DEVOPS_AUDIENCE}/.default")
        self.seed(rights={claims["oid"]: rights})
        return step

    def send(self, method: str, path: str, body: Any = None) -> Any:
        token = world_token(self.world, self.owner.object_id)
        url = f"https://dev.azure.com/{self.org}/agents/_apis/build/{path}?api-version={DEVOPS_VERSION}"
        return self.world.sandbox.send(method, url, body, token=token)

    def start(self) -> int:
        return int(self.send("POST", "builds", {"definition": {"id": 7}}).status)

    def finish(self) -> None:
        self.world.sandbox.request("POST", "/devops/finish", {"org": self.org, "project": "agents"})

    def switch(self) -> str:
        return str(self.send("GET", "definitions/7").body["queueStatus"])

    def turn(self, wanted: str) -> None:
        document = self.send("GET", "definitions/7").body
        self.send("PUT", "definitions/7", {**document, "queueStatus": wanted})

    def marks(self) -> list[str]:
        return list(self.send("GET", "definitions/7").body["tags"])


def world_token(world: Any, principal: str) -> str:
    body = {"principal": principal, "audience": DEVOPS_AUDIENCE}
    return str(world.sandbox.request("POST", "/tokens", body)["access_token"])


class GitHub:
    """One repository with one workflow, and a token for it in a Key Vault."""

    disabled, enabled = "disabled_manually", "active"

    def __init__(self, world: Any) -> None:
        self.world, self.repo, vault = world, f"agents-{uuid4().hex[:8]}", f"kv-{uuid4().hex[:8]}"
        self.ref = f"https://github.com/acme/{self.repo}/actions/workflows/promote.yml"
        self.token, self.owners = f"responder-{uuid4().hex}", f"owner-{uuid4().hex}"
        rights = ["actions:write", "variables:write"]
        body = {"owner": "acme", "repo": self.repo, "workflows": ["promote.yml"]}
        world.sandbox.request(
            "POST", "/github/repository", {**body, "tokens": {self.token: rights, self.owners: rights}}
        )
        vault_id = f"{world.group()}/providers/Microsoft.KeyVault/vaults/{vault}"
        properties = {"tenantId": world.responder.tenant_id, "sku": {"family": "A", "name": "standard"}}
        world.admin().put(vault_id, {"location": "westeurope", "properties": properties}, "2023-07-01")
        data = world.admin_data(f"https://{vault}.vault.azure.net", "https://vault.azure.net")
        data.request("PUT", "secrets/github", query={"api-version": "7.4"}, json={"value": self.token})
        self.secret = f"{vault_id}/secrets/github"

    def step(self, world: Any, *, owner: str = "agent") -> Step:
        workflow = GitHubWorkflow(kind="github-workflow", ref=self.ref, token_secret=self.secret)
        return Step(world, "azure.disable-pipeline", owner=owner, pipelines=(workflow,))

    def send(self, method: str, path: str, body: Any = None) -> Any:
        url = f"https://api.github.com/repos/acme/{self.repo}/actions/{path}"
        return self.world.sandbox.send(method, url, body, token=self.owners)

    def start(self) -> int:
        return int(self.send("POST", "workflows/promote.yml/dispatches", {"ref": "main"}).status)

    def finish(self) -> None:
        self.world.sandbox.request("POST", "/github/finish", {"owner": "acme", "repo": self.repo})

    def switch(self) -> str:
        return str(self.send("GET", "workflows/promote.yml").body["state"])

    def turn(self, wanted: str) -> None:
        self.send("PUT", f"workflows/promote.yml/{'enable' if wanted == self.enabled else 'disable'}")

    def marks(self) -> list[str]:
        return [each["name"] for each in self.send("GET", "variables").body["variables"]]


@pytest.fixture(params=[DevOps, GitHub])
def pipeline(request: pytest.FixtureRequest, world: Any) -> Any:
    return request.param(world)


def test_a_pipeline_is_disabled_proved_and_released(world: Any, pipeline: Any) -> None:
    step = pipeline.step(world)
    before = step.snapshot()
    assert pipeline.start() < 400
    pipeline.finish()
    change = step.apply()
    assert change.changed
    assert holds(step.verify(change))
    assert pipeline.start() >= 400
    assert holds(step.verify(change))
    assert not step.apply().changed
    step.assert_goes_back(change, before)
    assert pipeline.marks() == []
    assert pipeline.start() < 400


def test_a_pipeline_that_is_enabled_again_is_seen(world: Any, pipeline: Any) -> None:
    step = pipeline.step(world)
    change = step.apply()
    pipeline.turn(pipeline.enabled)
    switch, _ = step.verify(change)
    assert not switch.holds
    assert holds(step.verify(step.apply()))


def test_a_run_that_goes_on_is_no_proof(world: Any, pipeline: Any) -> None:
    step = pipeline.step(world)
    pipeline.start()
    change = step.apply()
    _, runs = step.verify(change)
    assert not runs.holds
    assert "still going on" in runs.observed
    pipeline.finish()
    assert holds(step.verify(change))


def test_a_run_that_began_after_the_freeze_is_seen(world: Any, pipeline: Any) -> None:
    step = pipeline.step(world)
    change = step.apply()
    pipeline.turn(pipeline.enabled)
    pipeline.start()
    pipeline.finish()
    pipeline.turn(pipeline.disabled)
    switch, runs = step.verify(change)
    assert switch.holds
    assert not runs.holds


def test_a_disabled_pipeline_stays_disabled(world: Any, pipeline: Any) -> None:
    pipeline.turn(pipeline.disabled)
    step = pipeline.step(world)
    change = step.apply()
    assert holds(step.verify(change))
    assert step.revert(change).holds
    assert pipeline.switch() == pipeline.disabled


def test_workloads_that_share_a_pipeline_do_not_undo_each_other(world: Any, pipeline: Any) -> None:
    first, second = (pipeline.step(world, owner=f"agent-{uuid4().hex[:8]}") for _ in "12")
    one = first.apply()
    two = second.apply()
    assert two.before == one.before
    released = first.revert(one)
    assert released.holds
    assert released.detail["kept_for_others"]
    assert holds(second.verify(two))
    assert second.revert(two).holds
    assert pipeline.switch() == pipeline.enabled


def test_throttling_is_only_a_delay(world: Any, pipeline: Any) -> None:
    step = pipeline.step(world)
    for fault in ("throttle", "error503"):
        world.sandbox.inject(fault, times=-1, once_per_operation=True, retry_after=0)
        try:
            change = patiently(step.apply)
            assert patiently(lambda: step.verify(change))  # noqa: B023 - called at once
            assert patiently(lambda: step.revert(change)).holds  # noqa: B023 - called at once
        finally:
            world.sandbox.clear_faults()
    assert pipeline.switch() == pipeline.enabled


def test_somebody_elses_change_is_not_undone(world: Any) -> None:
    pipeline = DevOps(world)
    step = pipeline.step(world)
    world.sandbox.request("POST", "/devops/race", {"org": pipeline.org, "project": "agents"})
    with pytest.raises(TransientCloudError, match="somebody else"):
        step.apply()
    change = step.apply()
    assert holds(step.verify(change))
    assert pipeline.send("GET", "definitions/7").body["description"] == "changed meanwhile"


def test_without_the_right_to_edit_nothing_is_done(world: Any) -> None:
    pipeline = DevOps(world)
    with pytest.raises(PermanentCloudError):
        pipeline.step(world, rights=["view"]).apply()
    assert pipeline.switch() == "enabled"
    with pytest.raises(PermanentCloudError):
        pipeline.step(world, rights=[]).snapshot()


def test_the_token_of_github_is_read_by_permission(world: Any) -> None:
    pipeline = GitHub(world)
    step = pipeline.step(world)
    (permission,) = step.measure.permissions
    bound = world.least(step.workload, "azure.disable-pipeline", without=permission.action)
    step.measure = type(step.measure)(world.context(bound))
    with pytest.raises(PermanentCloudError):
        step.apply()


def test_marks_are_found_among_many_variables(world: Any) -> None:
    pipeline = GitHub(world)
    for number in range(35):
        pipeline.send("POST", "variables", {"name": f"OTHER_{number}", "value": "x"})
    first, second = (pipeline.step(world, owner=f"agent-{uuid4().hex[:8]}") for _ in "12")
    one, two = first.apply(), second.apply()
    assert first.revert(one).detail["kept_for_others"]
    assert second.revert(two).holds
    assert pipeline.switch() == pipeline.enabled
