"""Know the host names the sandbox plays, and for whom the tokens they accept must be issued.

Source: "Azure public cloud endpoints" of each service, and the "scope" of its authentication page.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """A kind of host: names (a leading dot means any name below it) and accepted token audiences."""

    kind: str
    names: tuple[str, ...]
    audiences: tuple[str, ...]

    def plays(self, hostname: str) -> bool:
        """Tell whether this name is of this kind."""
        return any(
            hostname.endswith(name) if name.startswith(".") else hostname == name for name in self.names
        )


_hosts: dict[str, Host] = {}


def register(kind: str, names: tuple[str, ...], audiences: tuple[str, ...] = ()) -> None:
    """Play these host names as the given kind, for tokens of these audiences."""
    _hosts[kind] = Host(kind, names, tuple(audience.rstrip("/") for audience in audiences))


def kind_of(hostname: str) -> str | None:
    """Return the kind of a host name, or None when the sandbox does not play it."""
    name = hostname.lower().rstrip(".")
    return next((host.kind for host in _hosts.values() if host.plays(name)), None)


def audiences(kind: str) -> tuple[str, ...]:
    """Return the audiences whose tokens this kind of host accepts."""
    return _hosts[kind].audiences


def known_audience(audience: str) -> bool:
    """Tell whether some host accepts tokens of this audience."""
    plain = audience.rstrip("/")
    return any(plain in host.audiences for host in _hosts.values()) or _is_own_audience(plain)


def _is_own_audience(audience: str) -> bool:
    """Tell whether a resource's own URL is the audience, as of a Cosmos DB account."""
    return audience.startswith("https://") and kind_of(audience.removeprefix("https://")) is not None


def certificate_names() -> list[str]:
    """Return the names the server's certificate must carry."""
    names = [name for host in _hosts.values() for name in host.names]
    return [f"*{name}" if name.startswith(".") else name for name in names]


_ARM = ("https://management.azure.com", "https://management.core.windows.net")
register("arm", ("management.azure.com",), _ARM)
register(
    "login", ("login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net")
)
register(
    "graph",
    ("graph.microsoft.com",),
    ("https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000"),
)
register("logs", ("api.loganalytics.io", "api.loganalytics.azure.com"), ("https://api.loganalytics.io",))
register("blob", (".blob.core.windows.net",), ("https://storage.azure.com",))
register("acr", (".azurecr.io",), ("https://containerregistry.azure.net", *_ARM))
register("vault", (".vault.azure.net",), ("https://vault.azure.net",))
register("cosmos", (".documents.azure.com",), ("https://cosmos.azure.com",))
register(
    "servicebus",
    (".servicebus.windows.net",),
    ("https://servicebus.azure.net", "https://eventhubs.azure.net"),
)
register(
    "ai",
    (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"),
    ("https://cognitiveservices.azure.com", "https://ai.azure.com"),
)
# The application id of Azure DevOps, "Authenticate with Microsoft Entra ID" of Azure DevOps.
register(
    "devops",
    ("dev.azure.com", "vssps.dev.azure.com"),
    ("499b84ac-1321-427f-aa17-267ca6975798", "https://app.vssps.visualstudio.com"),
)
register("github", ("api.github.com",))
