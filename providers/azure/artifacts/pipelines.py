"""Stop promotion: the pipeline that puts artifacts into production takes no further run."""

from __future__ import annotations

from firebreak.declarations import of_kind, targets_of
from firebreak.measure import Permission, found, on_any
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.session import owner_mark
from providers.azure.artifacts.builds import Pipeline, pipeline
from providers.azure.resources.artifacts import DevOpsPipeline, GitHubWorkflow
from providers.azure.session import AzureMeasure

_SECRET = "data:Microsoft.KeyVault/vaults/secrets/getSecret/action"  # noqa: S105 - the name of a permission


class DisablePipeline(AzureMeasure, cloud=Cloud.AZURE, phase=Phase.ARTIFACT_FREEZE, name="disable-pipeline"):
    """Disable the pipeline in Azure DevOps or on GitHub, so that it starts no run; nothing is lost.

    No run is started to prove it: a pipeline acts on the world. Azure DevOps knows no Azure roles: there the
    responder has to be a user with the permissions "View builds" and "Edit build pipeline".
    """

    permissions = on_any(_SECRET)

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """Every declared pipeline."""
        return targets_of(workload, _declared(workload))

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:
        """GitHub's token is read from Key Vault; Azure DevOps takes the responder's own."""
        return cls.permissions if target.kind == "github-workflow" else ()

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:  # noqa: ARG003
        """The secret."""
        mine = [each for each in of_kind(workload.pipelines, GitHubWorkflow) if each.ref == target.ref]
        return tuple(each.token_secret for each in mine)

    def snapshot(self, target: Target) -> JsonObject:
        """Read the switch; where other workloads stopped the pipeline, what it was before them."""
        stopped = self._pipeline(target)
        return {"switch": next(iter(stopped.marks().values()), stopped.switch())}

    def apply(self, target: Target, state: State) -> Change:
        """Leave the mark, turn the switch off, and note which run was the newest."""
        stopped, changed = self._pipeline(target), False
        if owner_mark(self.run) not in stopped.marks():
            stopped.mark(state.values["switch"])
            changed = True
        if stopped.switch() != stopped.disabled:
            stopped.turn(stopped.disabled)
            changed = True
        return self.done(target, state, changed=changed, newest=stopped.runs()["newest"])

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """Read the switch back, and compare the newest run with the one at the freeze."""
        stopped = self._pipeline(target)
        switch, runs = stopped.switch(), stopped.runs()
        began, going = runs["newest"] != change.after["newest"], runs["going"]
        return (
            found(
                Method.EFFECTIVE_POLICY,
                f"the pipeline is {switch}",
                holds=switch == stopped.disabled,
            ),
            found(
                Method.CONFIGURATION,
                _seen(began=began, going=len(going)),
                holds=not began and not going,
                newest=runs["newest"],
                going=going[:20],
            ),
        )

    def revert(self, change: Change) -> Finding:
        """Turn the switch back to what it was, unless another workload keeps the pipeline stopped."""
        stopped, before = self._pipeline(change.target), change.before["switch"]
        stopped.unmark()
        if stopped.marks():
            return found(
                Method.CONFIGURATION,
                "released here; the pipeline stays disabled for another workload",
                holds=True,
                kept_for_others=True,
            )
        if stopped.switch() != before:
            stopped.turn(before)
        switch = stopped.switch()
        return found(Method.CONFIGURATION, f"the pipeline is {switch}", holds=switch == before)

    def _pipeline(self, target: Target) -> Pipeline:
        resource = next(each for each in _declared(self.run.workload) if each.ref == target.ref)
        return pipeline(self.access, resource)


def _declared(workload: Workload) -> list[DevOpsPipeline | GitHubWorkflow]:
    return [*of_kind(workload.pipelines, DevOpsPipeline), *of_kind(workload.pipelines, GitHubWorkflow)]


def _seen(*, began: bool, going: int) -> str:
    if going:
        return f"{going} runs are still going on"
    return "a run began after the freeze" if began else "no run began after the freeze"
