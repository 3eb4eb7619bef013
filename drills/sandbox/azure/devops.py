"""Play Azure DevOps' build definitions: who may see, edit and queue them, and what a disabled one refuses.

Source: Azure DevOps Services REST API 7.1, Build: "Definitions", "Builds", "Tags"; "DefinitionQueueStatus":
enabled takes builds, paused takes them and starts none, disabled takes none.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from drills.sandbox.azure import clock, tokens
from drills.sandbox.azure.call import Answer, Call, JsonObject
from drills.sandbox.azure.control import ControlRequest, route
from drills.sandbox.azure.errors import ArmError, envelope
from drills.sandbox.azure.state import on_reset
from drills.sandbox.azure.table import operation

SOURCE = "Azure DevOps Services REST API, Build"
_DEFINITION = "/{org}/{project}/_apis/build/definitions/{number}"
_STATUSES = ("enabled", "paused", "disabled")


@dataclass
class Project:
    """One project: its definitions, their builds, and who may do what."""

    org: str
    name: str
    rights: dict[str, frozenset[str]] = field(default_factory=dict)
    """View, edit and queue, by the object id of a principal or by a personal access token."""
    definitions: dict[int, JsonObject] = field(default_factory=dict)
    builds: list[JsonObject] = field(default_factory=list)
    raced: bool = False
    """Somebody else changes a definition just before the next update of it."""


projects: dict[tuple[str, str], Project] = {}
on_reset(projects.clear)


def _project(call: Call, right: str) -> Project:
    """The project, for a caller who has this right there."""
    who = _caller(call)
    project = projects.get((call.params["org"].lower(), call.params["project"].lower()))
    if project is None or "view" not in project.rights.get(who, ()):
        # What a caller may not see does not exist for it ("ProjectDoesNotExistWithNameException").
        message = f"TF200016: The following project does not exist: {call.params['project']}."
        raise ArmError(404, "ProjectDoesNotExistWithNameException", message)
    if right not in project.rights[who]:
        message = "TF215106: Access denied. The identity needs further permissions to perform the action."
        raise ArmError(403, "AccessDeniedException", message)
    return project


def _caller(call: Call) -> str:
    scheme, _, value = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return base64.b64decode(value).decode().partition(":")[2]
    call.principal = tokens.authenticated(call)
    return call.principal.object_id


def _definition(call: Call, project: Project) -> JsonObject:
    number = call.params["number"]
    found = project.definitions.get(int(number)) if number.isdigit() else None
    if found is None:
        message = f"Definition {number} was not found in project {project.name}."
        raise ArmError(404, "DefinitionNotFoundException", message)
    return found


@operation("devops", "GET", _DEFINITION, authenticated=False, source=SOURCE)
def get_definition(call: Call) -> JsonObject:
    """Return a definition."""
    return dict(_definition(call, _project(call, "view")))


@operation("devops", "PUT", _DEFINITION, authenticated=False, source=SOURCE)
def update_definition(call: Call) -> JsonObject:
    """Replace a definition that nobody else changed meanwhile."""
    project = _project(call, "edit")
    before, wanted = _definition(call, project), call.body
    if project.raced:
        before.update(description="changed meanwhile", revision=before["revision"] + 1)
        project.raced = False
    if wanted.get("revision") != before["revision"]:
        message = f"The pipeline has been updated since you last retrieved it. Current: {before['revision']}."
        raise ArmError(409, "DefinitionRevisionConflictException", message)
    if wanted.get("queueStatus") not in _STATUSES:
        raise ArmError(400, "ArgumentException", "Value of queueStatus is not valid.")
    fixed = {name: before[name] for name in ("id", "project", "tags")}
    after: JsonObject = {**wanted, **fixed, "revision": before["revision"] + 1}
    project.definitions[before["id"]] = after
    return dict(after)


@operation("devops", "GET", f"{_DEFINITION}/tags", authenticated=False, source=SOURCE)
def list_tags(call: Call) -> JsonObject:
    """List a definition's tags."""
    return _tags(_definition(call, _project(call, "view")))


@operation("devops", "PUT", f"{_DEFINITION}/tags/{{tag}}", authenticated=False, source=SOURCE)
def add_tag(call: Call) -> JsonObject:
    """Add one tag to a definition; its revision stays."""
    definition = _definition(call, _project(call, "edit"))
    definition["tags"] = sorted({*definition["tags"], call.params["tag"]})
    return _tags(definition)


@operation("devops", "DELETE", f"{_DEFINITION}/tags/{{tag}}", authenticated=False, source=SOURCE)
def remove_tag(call: Call) -> JsonObject:
    """Remove one tag from a definition; its revision stays."""
    definition = _definition(call, _project(call, "edit"))
    definition["tags"] = [each for each in definition["tags"] if each != call.params["tag"]]
    return _tags(definition)


def _tags(definition: JsonObject) -> JsonObject:
    return {"count": len(definition["tags"]), "value": list(definition["tags"])}


@operation("devops", "POST", "/{org}/{project}/_apis/build/builds", authenticated=False, source=SOURCE)
def queue_build(call: Call) -> JsonObject:
    """Queue a build, unless the definition is disabled."""
    project = _project(call, "queue")
    number = int((call.body.get("definition") or {}).get("id", 0))
    call.params = {**call.params, "number": str(number)}
    definition = _definition(call, project)
    if definition["queueStatus"] == "disabled":
        message = (
            "Could not queue the build because there were validation errors or warnings: the pipeline is"
            " disabled."
        )
        raise ArmError(400, "BuildRequestValidationFailedException", message)
    status = "notStarted" if definition["queueStatus"] == "paused" else "inProgress"
    build: JsonObject = {
        "id": len(project.builds) + 1,
        "status": status,
        "queueTime": clock.stamp(),
        "definition": {"id": number, "name": definition["name"]},
    }
    project.builds.append(build)
    return dict(build)


@operation("devops", "GET", "/{org}/{project}/_apis/build/builds", authenticated=False, source=SOURCE)
def list_builds(call: Call) -> JsonObject:
    """List builds, the newest first, of some definitions or states where they are named."""
    project = _project(call, "view")
    wanted = {int(each) for each in call.query.get("definitions", "").split(",") if each}
    states = {each for each in call.query.get("statusFilter", "").lower().split(",") if each}
    found = [
        build
        for build in reversed(project.builds)
        if (not wanted or build["definition"]["id"] in wanted)
        and (not states or build["status"].lower() in states)
    ]
    page = found[: int(call.query.get("$top", "1000"))]
    return {"count": len(page), "value": page}


@envelope("devops")
def worded(_call: Call, error: ArmError) -> Answer:
    """Word an error as Azure DevOps does."""
    body: JsonObject = {
        "$id": "1",
        "message": error.message,
        "typeKey": error.code,
        "errorCode": 0,
        "eventId": 3000,
    }
    return Answer(error.status, body, error.headers)


@route("POST", "/devops/project")
def seed_project(request: ControlRequest) -> dict[str, Any]:
    """Make a project with definitions (number to name), and give principals rights in it."""
    org, name = request.text("org"), request.text("project")
    project = projects.setdefault((org.lower(), name.lower()), Project(org, name))
    for who, rights in request.body.get("rights", {}).items():
        project.rights[who] = frozenset(rights)
    for number, title in request.body.get("definitions", {}).items():
        project.definitions.setdefault(int(number), _new_definition(project, int(number), title))
    return {"definitions": {str(each): project.definitions[each] for each in project.definitions}}


def _new_definition(project: Project, number: int, title: str) -> JsonObject:
    return {
        "id": number,
        "name": title,
        "path": "\\",
        "type": "build",
        "queueStatus": "enabled",
        "revision": 1,
        "tags": [],
        "process": {"type": 2, "yamlFilename": "/azure-pipelines.yml"},
        "project": {"id": f"{project.org}-{project.name}", "name": project.name},
    }


@route("POST", "/devops/finish")
def finish_builds(request: ControlRequest) -> dict[str, Any]:
    """End every build of a project that is running."""
    project = projects[request.text("org").lower(), request.text("project").lower()]
    running = [build for build in project.builds if build["status"] == "inProgress"]
    for build in running:
        build.update(status="completed", result="succeeded")
    return {"finished": [build["id"] for build in running]}


@route("POST", "/devops/race")
def race(request: ControlRequest) -> dict[str, Any]:
    """Let somebody else change a definition of the project just before its next update."""
    projects[request.text("org").lower(), request.text("project").lower()].raced = True
    return {}
