"""The built-in roles the sandbox knows, with their real ids and permissions.

Source: "Azure built-in roles"; actions shortened to those that some operation of the sandbox asks for where a
role lists dozens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SUPPORT = ("Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.Resources/deployments/*")
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers"
_DELEGATION = "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action"
_VAULT = "Microsoft.KeyVault/vaults"


@dataclass(frozen=True)
class Permissions:
    """What a role allows: actions less notActions, dataActions less notDataActions."""

    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()

    @classmethod
    def of(cls, document: Mapping[str, list[str] | None]) -> Permissions:
        """Return the permissions of an ARM document."""
        names = ("actions", "notActions", "dataActions", "notDataActions")
        return cls(*(tuple(document.get(name) or ()) for name in names))

    def document(self) -> dict[str, list[str]]:
        """Return the ARM document."""
        return {
            "actions": list(self.actions),
            "notActions": list(self.not_actions),
            "dataActions": list(self.data_actions),
            "notDataActions": list(self.not_data_actions),
        }


@dataclass(frozen=True)
class BuiltInRole:
    """A role that every tenant has."""

    id: str
    name: str
    permissions: Permissions


_CONTRIBUTOR_NOT = (
    "Microsoft.Authorization/*/Delete",
    "Microsoft.Authorization/*/Write",
    "Microsoft.Authorization/elevateAccess/Action",
    "Microsoft.Blueprint/blueprintAssignments/write",
    "Microsoft.Blueprint/blueprintAssignments/delete",
    "Microsoft.Compute/galleries/share/action",
)
_NETWORK_CONTRIBUTOR = (
    "Microsoft.Authorization/*/read",
    "Microsoft.Insights/alertRules/*",
    "Microsoft.Network/*",
    *_SUPPORT,
)
_MACHINES = (
    "Microsoft.Authorization/*/read",
    "Microsoft.Compute/virtualMachines/*",
    "Microsoft.Compute/disks/read",
    "Microsoft.Compute/disks/write",
    "Microsoft.Compute/disks/delete",
    "Microsoft.Network/networkInterfaces/*",
    "Microsoft.Network/networkSecurityGroups/join/action",
    "Microsoft.Network/networkSecurityGroups/read",
    "Microsoft.Network/publicIPAddresses/join/action",
    "Microsoft.Network/virtualNetworks/read",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
    "Microsoft.Storage/storageAccounts/listKeys/action",
    "Microsoft.Storage/storageAccounts/read",
    *_SUPPORT,
)
_LOGS_READER = (
    "*/read",
    "Microsoft.OperationalInsights/workspaces/analytics/query/action",
    "Microsoft.OperationalInsights/workspaces/search/action",
)
_BUS = "Microsoft.ServiceBus"
_AI = "Microsoft.CognitiveServices"
_IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
_SENTINEL = "Microsoft.SecurityInsights"
_ML = "Microsoft.MachineLearningServices/workspaces"

BUILT_IN: tuple[BuiltInRole, ...] = (
    BuiltInRole("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner", Permissions(("*",))),
    BuiltInRole("b24988ac-6180-42a0-ab88-20f7382dd24c", "Contributor", Permissions(("*",), _CONTRIBUTOR_NOT)),
    BuiltInRole("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", Permissions(("*/read",))),
    BuiltInRole(
        "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        "User Access Administrator",
        Permissions(("*/read", "Microsoft.Authorization/*", "Microsoft.Support/*")),
    ),
    BuiltInRole(
        "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
        "Role Based Access Control Administrator",
        Permissions(
            (
                "Microsoft.Authorization/roleAssignments/write",
                "Microsoft.Authorization/roleAssignments/delete",
                "*/read",
                "Microsoft.Support/*",
            )
        ),
    ),
    BuiltInRole(
        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        "Storage Blob Data Owner",
        Permissions((f"{_BLOBS}/*", _DELEGATION), data_actions=(f"{_BLOBS}/blobs/*",)),
    ),
    BuiltInRole(
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "Storage Blob Data Contributor",
        Permissions(
            (f"{_BLOBS}/delete", f"{_BLOBS}/read", f"{_BLOBS}/write", _DELEGATION),
            data_actions=(
                f"{_BLOBS}/blobs/delete",
                f"{_BLOBS}/blobs/read",
                f"{_BLOBS}/blobs/write",
                f"{_BLOBS}/blobs/move/action",
                f"{_BLOBS}/blobs/add/action",
            ),
        ),
    ),
    BuiltInRole(
        "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        "Storage Blob Data Reader",
        Permissions((f"{_BLOBS}/read", _DELEGATION), data_actions=(f"{_BLOBS}/blobs/read",)),
    ),
    BuiltInRole(
        "17d1049b-9a84-46fb-8f53-869881c3d3ab",
        "Storage Account Contributor",
        Permissions(("Microsoft.Authorization/*/read", "Microsoft.Storage/storageAccounts/*", *_SUPPORT)),
    ),
    BuiltInRole(
        "7f951dda-4ed3-4680-a7ca-43fe172d538d",
        "AcrPull",
        Permissions(("Microsoft.ContainerRegistry/registries/pull/read",)),
    ),
    BuiltInRole(
        "8311e382-0749-4cb8-b61a-304f252e45ec",
        "AcrPush",
        Permissions(
            (
                "Microsoft.ContainerRegistry/registries/pull/read",
                "Microsoft.ContainerRegistry/registries/push/write",
            )
        ),
    ),
    BuiltInRole(
        "c2f4ef07-c644-48eb-af81-4b1b4947fb11",
        "AcrDelete",
        Permissions(("Microsoft.ContainerRegistry/registries/artifacts/delete",)),
    ),
    BuiltInRole(
        "4d97b98b-1d4f-4787-a291-c67834d212e7", "Network Contributor", Permissions(_NETWORK_CONTRIBUTOR)
    ),
    BuiltInRole(
        "9980e02c-c2be-4d73-94e8-173b1dc7cf3c", "Virtual Machine Contributor", Permissions(_MACHINES)
    ),
    BuiltInRole(
        "090c5cfd-751d-490a-894a-3ce6f1109419",
        "Azure Service Bus Data Owner",
        Permissions((f"{_BUS}/*",), data_actions=(f"{_BUS}/*",)),
    ),
    BuiltInRole(
        "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39",
        "Azure Service Bus Data Sender",
        Permissions(
            (f"{_BUS}/*/queues/read", f"{_BUS}/*/topics/read", f"{_BUS}/*/topics/subscriptions/read"),
            data_actions=(f"{_BUS}/*/send/action",),
        ),
    ),
    BuiltInRole(
        "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0",
        "Azure Service Bus Data Receiver",
        Permissions(
            (f"{_BUS}/*/queues/read", f"{_BUS}/*/topics/read", f"{_BUS}/*/topics/subscriptions/read"),
            data_actions=(f"{_BUS}/*/receive/action",),
        ),
    ),
    BuiltInRole(
        "d5a91429-5739-47e2-a06b-3470a27159e7",
        "EventGrid Data Sender",
        Permissions(
            ("Microsoft.EventGrid/topics/read", "Microsoft.EventGrid/domains/read"),
            data_actions=("Microsoft.EventGrid/events/send/action",),
        ),
    ),
    BuiltInRole(
        "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd",
        "Cognitive Services OpenAI User",
        Permissions(
            (f"{_AI}/*/read", "Microsoft.Authorization/roleAssignments/read"),
            data_actions=(
                f"{_AI}/accounts/OpenAI/*/read",
                f"{_AI}/accounts/OpenAI/engines/completions/action",
                f"{_AI}/accounts/OpenAI/engines/search/action",
                f"{_AI}/accounts/OpenAI/engines/generate/action",
                f"{_AI}/accounts/OpenAI/deployments/*/action",
                f"{_AI}/accounts/OpenAI/assistants/*",
                f"{_AI}/accounts/OpenAI/responses/*",
            ),
        ),
    ),
    BuiltInRole(
        "a97b65f3-24c7-4388-baec-2e87135dc908",
        "Cognitive Services User",
        Permissions(
            (f"{_AI}/*/read", f"{_AI}/accounts/listkeys/action", *_SUPPORT), data_actions=(f"{_AI}/*",)
        ),
    ),
    BuiltInRole(
        "73c42c96-874c-492b-b04d-ab87d138a893",
        "Log Analytics Reader",
        Permissions(_LOGS_READER, ("Microsoft.OperationalInsights/workspaces/sharedKeys/read",)),
    ),
    BuiltInRole(
        "43d0d8ad-25c7-4714-9337-8ba259a9fe05",
        "Monitoring Reader",
        Permissions(
            ("*/read", "Microsoft.OperationalInsights/workspaces/search/action", "Microsoft.Support/*")
        ),
    ),
    BuiltInRole(
        "12338af0-0e69-4776-bea7-57ae8d297424",
        "Key Vault Crypto User",
        Permissions(
            data_actions=tuple(
                f"{_VAULT}/keys/{verb}"
                for verb in (
                    "read",
                    "update/action",
                    "backup/action",
                    "encrypt/action",
                    "decrypt/action",
                    "wrap/action",
                    "unwrap/action",
                    "sign/action",
                    "verify/action",
                )
            )
        ),
    ),
    BuiltInRole(
        "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
        "Key Vault Crypto Officer",
        Permissions(
            ("Microsoft.Authorization/*/read", f"{_VAULT}/*/read", *_SUPPORT),
            data_actions=(f"{_VAULT}/keys/*", f"{_VAULT}/keyrotationpolicies/*"),
        ),
    ),
    BuiltInRole(
        "4633458b-17de-408a-b874-0445c86b69e6",
        "Key Vault Secrets User",
        Permissions(
            data_actions=(f"{_VAULT}/secrets/getSecret/action", f"{_VAULT}/secrets/readMetadata/action")
        ),
    ),
    BuiltInRole(
        "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
        "Key Vault Secrets Officer",
        Permissions(
            ("Microsoft.Authorization/*/read", f"{_VAULT}/*/read", *_SUPPORT),
            data_actions=(f"{_VAULT}/secrets/*",),
        ),
    ),
    BuiltInRole(
        "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59",
        "Managed Identity Contributor",
        Permissions(
            (
                f"{_IDENTITIES}/read",
                f"{_IDENTITIES}/write",
                f"{_IDENTITIES}/delete",
                f"{_IDENTITIES}/federatedIdentityCredentials/*",
                "Microsoft.Authorization/*/read",
                *_SUPPORT,
            )
        ),
    ),
    BuiltInRole(
        "f1a07417-d97a-45cb-824c-7a7467783830",
        "Managed Identity Operator",
        Permissions(
            (
                f"{_IDENTITIES}/*/read",
                f"{_IDENTITIES}/*/assign/action",
                "Microsoft.Authorization/*/read",
                *_SUPPORT,
            )
        ),
    ),
    BuiltInRole(
        "3e150937-b8fe-4cfb-8069-0eaf05ecd056",
        "Microsoft Sentinel Responder",
        Permissions(
            (
                f"{_SENTINEL}/*/read",
                f"{_SENTINEL}/cases/*",
                f"{_SENTINEL}/incidents/*",
                f"{_SENTINEL}/entities/runPlaybook/action",
                *_LOGS_READER[1:],
                "Microsoft.OperationalInsights/workspaces/*/read",
                *_SUPPORT,
            )
        ),
    ),
    BuiltInRole(
        "ab8e14d6-4a74-4a29-9ba8-549422addade",
        "Microsoft Sentinel Contributor",
        Permissions(
            (
                f"{_SENTINEL}/*",
                *_LOGS_READER[1:],
                "Microsoft.OperationalInsights/workspaces/*/read",
                *_SUPPORT,
            )
        ),
    ),
    BuiltInRole(
        "f6c7c914-8db3-469d-8ca1-694a8f32e121",
        "AzureML Data Scientist",
        Permissions(
            (f"{_ML}/*/read", f"{_ML}/*/action", f"{_ML}/*/delete", f"{_ML}/*/write"),
            (
                f"{_ML}/delete",
                f"{_ML}/write",
                f"{_ML}/computes/*/write",
                f"{_ML}/computes/*/delete",
                f"{_ML}/computes/listKeys/action",
                f"{_ML}/listKeys/action",
            ),
        ),
    ),
    BuiltInRole(
        "5bd9cd88-fe45-4216-938b-f97437e15450",
        "DocumentDB Account Contributor",
        Permissions(("Microsoft.Authorization/*/read", "Microsoft.DocumentDb/databaseAccounts/*", *_SUPPORT)),
    ),
)

ROLE_IDS: Mapping[str, str] = {role.name: role.id for role in BUILT_IN}
