"""Play the part of GitHub that stops and starts workflows.

Source: GitHub REST API, Actions: "Workflows" (state, disable, enable, create a workflow dispatch event),
"Workflow runs", "Variables" (repository variables); "Permissions required for fine-grained personal access
tokens".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from drills.sandbox.azure import clock
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.control import ControlRequest, route
from drills.sandbox.azure.errors import ArmError, envelope
from drills.sandbox.azure.state import on_reset
from drills.sandbox.azure.table import operation

SOURCE = "GitHub REST API, Actions"
_REPOSITORY = "/repos/{owner}/{repo}"
_WORKFLOW = f"{_REPOSITORY}/actions/workflows/{{workflow}}"
_VARIABLES = f"{_REPOSITORY}/actions/variables"


@dataclass
class Repository:
    """One repository's workflows by file name, their runs, and its variables."""

    workflows: dict[str, JsonObject] = field(default_factory=dict)
    runs: list[JsonObject] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


@dataclass
class State:
    """Everything of this GitHub."""

    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    tokens: dict[str, frozenset[str]] = field(default_factory=dict)
    """What a token may: ``actions:read``, ``actions:write``, ``variables:read``, ``variables:write``."""

    def clear(self) -> None:
        """Forget everything."""
        self.repositories.clear()
        self.tokens.clear()


github = State()
on_reset(github.clear)


def _repository(call: Call, right: str) -> Repository:
    _, _, token = call.headers.get("authorization", "").partition(" ")
    rights = github.tokens.get(token)
    if rights is None:
        raise ArmError(401, "", "Bad credentials")
    found = github.repositories.get((call.params["owner"].lower(), call.params["repo"].lower()))
    if found is None:
        raise ArmError(404, "", "Not Found")
    implied = right.replace(":read", ":write")
    if not rights & {right, implied}:
        raise ArmError(403, "", "Resource not accessible by personal access token")
    return found


def _workflow(call: Call, repository: Repository) -> JsonObject:
    wanted = call.params["workflow"]
    for name, workflow in repository.workflows.items():
        if wanted in (name, str(workflow["id"])):
            return workflow
    raise ArmError(404, "", "Not Found")


@operation("github", "GET", _WORKFLOW, authenticated=False, source=SOURCE)
def get_workflow(call: Call) -> JsonObject:
    """Return a workflow with its state."""
    return dict(_workflow(call, _repository(call, "actions:read")))


@operation("github", "PUT", f"{_WORKFLOW}/disable", authenticated=False, source=SOURCE)
def disable_workflow(call: Call) -> Answer:
    """Let no event start the workflow any more."""
    return _set(call, "disabled_manually")


@operation("github", "PUT", f"{_WORKFLOW}/enable", authenticated=False, source=SOURCE)
def enable_workflow(call: Call) -> Answer:
    """Let events start the workflow again."""
    return _set(call, "active")


def _set(call: Call, state: str) -> Answer:
    workflow = _workflow(call, _repository(call, "actions:write"))
    workflow.update(state=state, updated_at=clock.stamp())
    return Answer(204)


@operation("github", "POST", f"{_WORKFLOW}/dispatches", authenticated=False, source=SOURCE)
def dispatch(call: Call) -> Answer:
    """Start a run, unless the workflow is disabled."""
    repository = _repository(call, "actions:write")
    workflow = _workflow(call, repository)
    if workflow["state"] != "active":
        raise ArmError(422, "", "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
    repository.runs.append(
        {
            "id": len(repository.runs) + 1,
            "workflow_id": workflow["id"],
            "status": "in_progress",
            "conclusion": None,
            "created_at": clock.stamp(),
        }
    )
    return Answer(204)


@operation("github", "GET", f"{_WORKFLOW}/runs", authenticated=False, source=SOURCE)
def list_runs(call: Call) -> JsonObject:
    """List a workflow's runs, the newest first, in one state where it is named."""
    repository = _repository(call, "actions:read")
    number, state = _workflow(call, repository)["id"], call.query.get("status", "")
    found = [
        run
        for run in reversed(repository.runs)
        if run["workflow_id"] == number and state in ("", run["status"], run["conclusion"])
    ]
    return {"total_count": len(found), "workflow_runs": found[: int(call.query.get("per_page", "30"))]}


@operation("github", "GET", _VARIABLES, authenticated=False, source=SOURCE)
def list_variables(call: Call) -> JsonObject:
    """List a repository's variables."""
    variables = _repository(call, "variables:read").variables
    size = min(int(call.query.get("per_page", "10")), 30)
    first = (int(call.query.get("page", "1")) - 1) * size
    shown = [{"name": name, "value": value} for name, value in variables.items()]
    return {"total_count": len(shown), "variables": shown[first : first + size]}


@operation("github", "POST", _VARIABLES, authenticated=False, source=SOURCE)
def create_variable(call: Call) -> Answer:
    """Make a variable."""
    variables = _repository(call, "variables:write").variables
    name = str(call.body.get("name", "")).upper()
    if not name or name in variables:
        raise ArmError(409 if name else 422, "", "Already exists - Variable already exists")
    variables[name] = str(call.body.get("value", ""))
    return Answer(201, {})


@operation("github", "DELETE", f"{_VARIABLES}/{{name}}", authenticated=False, source=SOURCE)
def delete_variable(call: Call) -> Answer:
    """Remove a variable."""
    variables = _repository(call, "variables:write").variables
    if variables.pop(call.params["name"].upper(), None) is None:
        raise ArmError(404, "", "Not Found")
    return Answer(204)


@envelope("github")
def worded(_call: Call, error: ArmError) -> Answer:
    """Word an error as GitHub does."""
    body: JsonObject = {"message": error.message, "documentation_url": "https://docs.github.com/rest"}
    return Answer(error.status, body, error.headers)


@route("POST", "/github/repository")
def seed_repository(request: ControlRequest) -> dict[str, Any]:
    """Make a repository with workflows by file name, and tokens with their rights."""
    key = (request.text("owner").lower(), request.text("repo").lower())
    repository = github.repositories.setdefault(key, Repository())
    for name in request.body.get("workflows", ()):
        number = sum(len(each.workflows) for each in github.repositories.values()) + 1
        workflow: JsonObject = {
            "id": number,
            "name": name,
            "path": f".github/workflows/{name}",
            "state": "active",
            "updated_at": clock.stamp(),
        }
        repository.workflows.setdefault(name, workflow)
    for token, rights in request.body.get("tokens", {}).items():
        github.tokens[token] = frozenset(rights)
    return {"workflows": repository.workflows}


@route("POST", "/github/finish")
def finish_runs(request: ControlRequest) -> dict[str, Any]:
    """End every run of a repository."""
    repository = github.repositories[request.text("owner").lower(), request.text("repo").lower()]
    running = [run for run in repository.runs if run["status"] != "completed"]
    for run in running:
        run.update(status="completed", conclusion="success")
    return {"finished": [run["id"] for run in running]}
