"""What an inventory may declare of an Azure workload's artifacts, memory stores and pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from firebreak.declarations import Declared, Sha256
from firebreak.model import Resource
from providers.azure.ids import GROUP, GUID, NAME
from providers.azure.resources.declared import arm_id

_CONTAINER = arm_id("Microsoft.Storage/storageAccounts/blobServices/containers")
_REGISTRY = arm_id("Microsoft.ContainerRegistry/registries")
_SECRET = arm_id("Microsoft.KeyVault/vaults/secrets", name="[A-Za-z0-9-]{1,127}")
_WORKSPACE = arm_id("Microsoft.MachineLearningServices/workspaces")
_ML_REGISTRY = arm_id("Microsoft.MachineLearningServices/registries")


class BlobContainer(Declared):
    """A container of models, prompts, configurations, or agent memory."""

    kind: Literal["blob-container"]
    ref: Annotated[str, Field(pattern=rf"^{_CONTAINER}$")]
    role: Literal["model", "prompt", "config", "memory"] = "model"
    prefix: str = ""
    """Only the blobs whose names start so are hashed and captured."""
    approved_sha256: dict[str, Sha256] = Field(default_factory=dict)
    """Blob name to the hash that was approved."""
    version_level: bool = False
    """The container has immutable storage with versioning, so that each version is held by itself."""


class ContainerRepository(Declared):
    """A repository of container images: ``<registry ARM id>/repositories/<name>``."""

    kind: Literal["container-repository"]
    ref: Annotated[str, Field(pattern=rf"^{_REGISTRY}/(?i:repositories)/[a-z0-9]+(?:[._/-]+[a-z0-9]+)*$")]
    tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")] = "latest"
    approved_digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None


class MlModel(Declared):
    """A version of a model in an Azure Machine Learning workspace or registry."""

    kind: Literal["ml-model"]
    ref: Annotated[
        str, Field(pattern=rf"^(?:{_WORKSPACE}|{_ML_REGISTRY})/(?i:models)/{NAME}/(?i:versions)/{NAME}$")
    ]
    approved_sha256: Sha256 | None = None


class LockedResource(Declared):
    """Any resource that nobody may delete while the workload is contained; never a whole resource group.

    A lock on a group also keeps role assignments in it from being removed ("Lock your resources").
    """

    kind: Literal["locked-resource"]
    ref: Annotated[
        str,
        Field(
            pattern=rf"^/(?i:subscriptions)/{GUID}/(?i:resourceGroups)/{GROUP}/(?i:providers)/[^\s?#]{{3,900}}$"
        ),
    ]


class CosmosContainer(Declared):
    """A Cosmos DB container that holds agent memory."""

    kind: Literal["cosmos-container"]
    ref: Annotated[
        str, Field(pattern=rf"^{arm_id('Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers')}$")
    ]


class DevOpsPipeline(Declared):
    """An Azure DevOps pipeline that promotes artifacts."""

    kind: Literal["devops-pipeline"]
    ref: Annotated[
        str,
        Field(
            pattern=r"^https://dev\.azure\.com/[A-Za-z0-9-]{1,50}/[A-Za-z0-9._%-]{1,192}"
            r"/_build\?definitionId=[0-9]{1,9}$"
        ),
    ]


class GitHubWorkflow(Declared):
    """A GitHub Actions workflow that promotes artifacts."""

    kind: Literal["github-workflow"]
    ref: Annotated[
        str,
        Field(
            pattern=r"^https://github\.com/[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}"
            r"/actions/workflows/[A-Za-z0-9._-]{1,100}$"
        ),
    ]
    token_secret: Annotated[str, Field(pattern=rf"^{_SECRET}$")]
    """ARM id of the Key Vault secret that holds a fine-grained token for the repository, with the permissions
    Actions (write) and Variables (write)."""


KINDS: Mapping[str, Mapping[str, type[Resource]]] = {
    "artifacts": {
        "blob-container": BlobContainer,
        "container-repository": ContainerRepository,
        "ml-model": MlModel,
        "locked-resource": LockedResource,
    },
    "stores": {"cosmos-container": CosmosContainer, "blob-container": BlobContainer},
    "pipelines": {"devops-pipeline": DevOpsPipeline, "github-workflow": GitHubWorkflow},
}
