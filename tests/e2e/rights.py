"""What ``firebreak permissions`` prints, taken apart and given to Firebreak's own identities."""

from __future__ import annotations

import copy
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from drills.sandbox.aws.sample import attach_evidence_policy, attach_responder_policy
from drills.sandbox.azure.sample.policies import attach_evidence_roles, attach_responder_roles
from firebreak.model import Cloud, JsonObject
from tests.e2e.stack import Stack


class Rights(ABC):
    """How one cloud writes down what an identity may do."""

    @abstractmethod
    def allowed(self, document: JsonObject) -> set[str]:
        """Every permission of a document."""

    @abstractmethod
    def remove(self, document: JsonObject, action: str) -> None:
        """Take a permission out, wherever it is granted."""

    @abstractmethod
    def attach(self, stack: Stack, role: str, document: JsonObject) -> None:
        """Leave Firebreak's responder or evidence identity with a document's rights and no others."""

    def without(self, document: JsonObject, *actions: str) -> JsonObject:
        """The document with some permissions taken out."""
        left = copy.deepcopy(document)
        for action in actions:
            self.remove(left, action)
        return left

    @contextmanager
    def lacking(self, stack: Stack, document: JsonObject, *actions: str) -> Iterator[None]:
        """The responder without some permissions, for the length of a block."""
        self.attach(stack, "responder", self.without(document, *actions))
        try:
            yield
        finally:
            self.attach(stack, "responder", document)


class AwsRights(Rights):
    """IAM policies."""

    def allowed(self, document: JsonObject) -> set[str]:
        return {
            action
            for policy in document["policies"]
            for each in policy["Statement"]
            for action in each["Action"]
        }

    def remove(self, document: JsonObject, action: str) -> None:
        for policy in document["policies"]:
            for statement in policy["Statement"]:
                statement["Action"] = [each for each in statement["Action"] if each != action]
            policy["Statement"] = [each for each in policy["Statement"] if each["Action"]]
        document["policies"] = [policy for policy in document["policies"] if policy["Statement"]]

    def attach(self, stack: Stack, role: str, document: JsonObject) -> None:
        attach = attach_responder_policy if role == "responder" else attach_evidence_policy
        attach(stack.sandbox, document["policies"], stack.sample)


class AzureRights(Rights):
    """Custom roles, application permissions of Microsoft Graph, and Cosmos DB's own roles."""

    def allowed(self, document: JsonObject) -> set[str]:
        definitions = [role["definition"] for role in document["roles"]]
        return {
            *(action for each in definitions for action in each["Actions"]),
            *(f"data:{action}" for each in definitions for action in each["DataActions"]),
            *(f"graph:{each}" for each in document.get("graph", ())),
            *(f"cosmos:{action}" for each in self._cosmos(document) for action in each["DataActions"]),
        }

    def remove(self, document: JsonObject, action: str) -> None:
        kind, _, name = action.rpartition(":")
        field = "DataActions" if kind else "Actions"
        parts = self._cosmos(document) if kind == "cosmos" else []
        if kind in {"", "data"}:
            parts = [role["definition"] for role in document["roles"]]
        for part in parts:
            part[field] = [each for each in part[field] if each != name]
        if kind == "graph":
            document["graph"] = [each for each in document["graph"] if each != name]

    def attach(self, stack: Stack, role: str, document: JsonObject) -> None:
        attach = attach_responder_roles if role == "responder" else attach_evidence_roles
        attach(stack.sandbox, document, stack.sample)

    @contextmanager
    def lacking(self, stack: Stack, document: JsonObject, *actions: str) -> Iterator[None]:
        """As everywhere; but tokens name the permissions of Graph, so that fresh ones have to be got."""
        if not any(each.startswith("graph:") for each in actions):
            with super().lacking(stack, document, *actions):
                yield
            return
        token = stack.sample.token_file
        other = token.with_name(f"{token.name}-{len(list(token.parent.iterdir()))}")
        shutil.copy(token, other)
        with super().lacking(stack, document, *actions), pytest.MonkeyPatch.context() as patch:
            patch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(other))
            yield

    @staticmethod
    def _cosmos(document: JsonObject) -> list[dict[str, Any]]:
        roles = document.get("cosmos", ())
        return [each for role in roles for each in role["definition"]["Permissions"]]


RIGHTS: dict[Cloud, Rights] = {Cloud.AWS: AwsRights(), Cloud.AZURE: AzureRights()}
