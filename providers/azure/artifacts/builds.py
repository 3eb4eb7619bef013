"""A pipeline that promotes artifacts, in Azure DevOps or on GitHub: its switch, its runs, and who stopped it.

A pipeline's switch has no owner, so each workload leaves a mark of its own beside it that tells what the
switch was before; the last workload to be released restores that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import urlsplit

from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.model import JsonObject
from firebreak.session import owner_mark
from providers.azure.answers import RestError, translated
from providers.azure.resources.artifacts import DevOpsPipeline, GitHubWorkflow
from providers.azure.rest import Rest, body_of
from providers.azure.session import AzureAccess

# "Authenticate with Microsoft Entra ID" of Azure DevOps: the application id that is its audience.
DEVOPS_SCOPE = "499b84ac-1321-427f-aa17-267ca6975798/.default"
DEVOPS_VERSION = "7.1"
GITHUB = "https://api.github.com"
GITHUB_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
SECRET_VERSION = "7.4"  # noqa: S105 - the api-version of Key Vault's secrets
_PAGE = 30  # GitHub REST API, "Variables": the most that a page holds
CONFLICT, UNPROCESSABLE, NOT_FOUND = 409, 422, 404
_DEVOPS_REF = re.compile(r"^https://dev\.azure\.com/([^/]+)/([^/]+)/_build\?definitionId=(\d+)$")


_MARK = re.compile(r"firebreak-(?P<owner>[^-]*)-(?P<before>[^-]*)")


class Pipeline(Protocol):
    """One pipeline."""

    @property
    def disabled(self) -> str:
        """What the switch says once it is off."""

    def switch(self) -> str:
        """What the switch says."""

    def turn(self, wanted: str) -> None:
        """Set the switch."""

    def marks(self) -> dict[str, str]:
        """The workloads that stopped it, each with what the switch was before the first of them."""

    def mark(self, before: str) -> None:
        """Leave this workload's mark."""

    def unmark(self) -> None:
        """Take this workload's mark away."""

    def runs(self) -> JsonObject:
        """The newest run, and the runs that go on."""


@dataclass(frozen=True)
class DevOps:
    """A build definition of Azure DevOps; the responder has to be a user there, with the right to edit it."""

    access: AzureAccess
    ref: str
    disabled: str = "disabled"

    @cached_property
    def _place(self) -> tuple[str, str, str]:
        match = _DEVOPS_REF.match(self.ref)
        if match is None:
            raise PermanentCloudError("this is no address of a pipeline", resource=self.ref)
        return match[1], match[2], match[3]

    @property
    def _definition(self) -> str:
        org, project, number = self._place
        return f"{org}/{project}/_apis/build/definitions/{number}"

    def _request(self, method: str, path: str, *, json: Any = None, **query: str) -> JsonObject:
        api = self.access.data("https://dev.azure.com", DEVOPS_SCOPE)
        with translated(self.ref):
            answer = api.request(method, path, query={"api-version": DEVOPS_VERSION, **query}, json=json)
        return body_of(answer)

    def switch(self) -> str:
        """The definition's queue status: enabled, paused or disabled."""
        return str(self._request("GET", self._definition)["queueStatus"])

    def turn(self, wanted: str) -> None:
        """Write the definition back with another queue status; its revision keeps others' changes."""
        document = self._request("GET", self._definition)
        api = self.access.data("https://dev.azure.com", DEVOPS_SCOPE)
        with translated(self.ref):
            try:
                api.request(
                    "PUT",
                    self._definition,
                    query={"api-version": DEVOPS_VERSION},
                    json={**document, "queueStatus": wanted},
                )
            except RestError as error:
                if error.status != CONFLICT:
                    raise
                raise TransientCloudError("somebody else just changed it", resource=self.ref) from error

    def marks(self) -> dict[str, str]:
        """Tags of the definition, for example ``firebreak-0123456789ab-enabled``."""
        tags = self._request("GET", f"{self._definition}/tags").get("value") or []
        found = [_MARK.fullmatch(each) for each in tags]
        return {each["owner"]: each["before"] for each in found if each}

    def mark(self, before: str) -> None:
        """Add the tag."""
        self._request("PUT", f"{self._definition}/tags/{self._tag(before)}")

    def unmark(self) -> None:
        """Remove the tag."""
        before = self.marks().get(owner_mark(self.access.run))
        if before is not None:
            self._request("DELETE", f"{self._definition}/tags/{self._tag(before)}")

    def _tag(self, before: str) -> str:
        return f"firebreak-{owner_mark(self.access.run)}-{before}"

    def runs(self) -> JsonObject:
        """The newest build, and those in progress."""
        org, project, number = self._place
        path = f"{org}/{project}/_apis/build/builds"
        order = {"queryOrder": "queueTimeDescending", "$top": "1"}
        newest = self._request("GET", path, definitions=number, **order)["value"]
        going = self._request("GET", path, definitions=number, statusFilter="inProgress")["value"]
        return {"newest": _id(newest), "going": sorted(str(each["id"]) for each in going)}


@dataclass(frozen=True)
class GitHub:
    """A workflow of GitHub Actions, reached with a token that a Key Vault secret holds."""

    access: AzureAccess
    workflow: GitHubWorkflow
    disabled: str = "disabled_manually"

    @property
    def ref(self) -> str:
        """The workflow's address."""
        return self.workflow.ref

    @property
    def _repository(self) -> str:
        _, owner, repository, *_ = urlsplit(self.ref).path.split("/")
        return f"repos/{owner}/{repository}"

    @property
    def _path(self) -> str:
        return f"{self._repository}/actions/workflows/{self.ref.rpartition('/')[2]}"

    @cached_property
    def _api(self) -> Rest:
        *_, vault, _, secret = self.workflow.token_secret.split("/")
        address = f"https://{vault}.{self.access.endpoints.vault_suffix}"
        with translated(self.workflow.token_secret):
            found = self.access.data(address, self.access.endpoints.vault_scope).find(
                f"secrets/{secret}", query={"api-version": SECRET_VERSION}
            )
        if not found or not found.get("value"):
            raise PermanentCloudError("there is no such secret", resource=self.workflow.token_secret)
        token = str(found["value"])
        return Rest(GITHUB, lambda: token)

    def _request(self, method: str, path: str, *, json: Any = None, **query: str) -> JsonObject:
        with translated(self.ref):
            return body_of(self._api.request(method, path, query=query, headers=GITHUB_HEADERS, json=json))

    def switch(self) -> str:
        """The workflow's state: active, disabled_manually, disabled_inactivity and so on."""
        return str(self._request("GET", self._path)["state"])

    def turn(self, wanted: str) -> None:
        """Disable or enable it; GitHub knows no other change."""
        self._request("PUT", f"{self._path}/{'enable' if wanted == 'active' else 'disable'}")

    def marks(self) -> dict[str, str]:
        """Variables of the repository, for example ``FIREBREAK_1A2B3C4D_0123456789AB``."""
        names = {each["name"]: str(each["value"]) for each in self._variables()}
        return {
            name.removeprefix(self._prefix).lower(): value
            for name, value in names.items()
            if name.startswith(self._prefix)
        }

    def _variables(self) -> Iterator[JsonObject]:
        page, path = 1, f"{self._repository}/actions/variables"
        while True:
            found = self._request("GET", path, per_page=str(_PAGE), page=str(page))["variables"]
            yield from found
            if len(found) < _PAGE:
                return
            page += 1

    def mark(self, before: str) -> None:
        """Make the variable; an earlier attempt may have."""
        body = {"name": self._variable, "value": before}
        with translated(self.ref):
            try:
                self._api.request(
                    "POST", f"{self._repository}/actions/variables", headers=GITHUB_HEADERS, json=body
                )
            except RestError as error:
                if error.status not in {CONFLICT, UNPROCESSABLE}:
                    raise

    def unmark(self) -> None:
        """Remove the variable; an earlier attempt may have."""
        with translated(self.ref):
            try:
                self._api.request(
                    "DELETE", f"{self._repository}/actions/variables/{self._variable}", headers=GITHUB_HEADERS
                )
            except RestError as error:
                if error.status != NOT_FOUND:
                    raise

    @property
    def _prefix(self) -> str:
        return f"FIREBREAK_{sha256(self.ref.lower().encode()).hexdigest()[:8].upper()}_"

    @property
    def _variable(self) -> str:
        return f"{self._prefix}{owner_mark(self.access.run).upper()}"

    def runs(self) -> JsonObject:
        """The newest run, and those in progress."""
        newest = self._request("GET", f"{self._path}/runs", per_page="1")["workflow_runs"]
        going = self._request("GET", f"{self._path}/runs", status="in_progress")["workflow_runs"]
        return {"newest": _id(newest), "going": sorted(str(each["id"]) for each in going)}


def pipeline(access: AzureAccess, resource: DevOpsPipeline | GitHubWorkflow) -> Pipeline:
    """The pipeline of a declaration."""
    if isinstance(resource, GitHubWorkflow):
        return GitHub(access, resource)
    return DevOps(access, resource.ref)


def _id(runs: list[JsonObject]) -> str:
    return str(runs[0]["id"]) if runs else ""
