"""What the Azure sample's rogue agent can do with its tokens (see drills/sandbox/rogue.py).

python -m drills.sandbox.azure.rogue --endpoint URL --config FILE
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import httpx

from drills.sandbox.rogue import CALL_SECONDS, RefusedError, Repertoire, command_of, filled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drills.sandbox.rogue import Attempt, Builder, Control, Json

MODULE = "drills.sandbox.azure.rogue"
CONNECTIONS = 16


class AzureRepertoire(Repertoire):
    """Calls to the production hosts with tokens, keys and assertions that were stolen before the incident."""

    def __init__(self, control: Control, config: Json) -> None:
        """Reach the hosts by the sandbox's proxy, as all of its clients do."""
        super().__init__(control)
        self._tokens: dict[str, str] = config["tokens"]
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._client = httpx.Client(
            proxy=config["proxy"],
            verify=ssl.create_default_context(cafile=config["ca_file"]),
            trust_env=False,
            timeout=CALL_SECONDS,
            limits=limits,
        )

    def builders(self) -> Mapping[str, Builder]:
        """Add calls, the metadata service, fresh registry tokens, waking events, and promotions."""
        return {
            **super().builders(),
            "call": self._call,
            "metadata": self._metadata,
            "registry": self._registry,
            "wake": self._wake,
            "promote": self._promote,
        }

    def _call(self, channel: Json) -> Attempt:
        """Make the requests of a channel, one after the other."""

        def call(count: int) -> None:
            for step in channel["steps"]:
                self._send(filled(step, count))

        return call

    def _metadata(self, channel: Json) -> Attempt:
        """Ask the metadata service of the agent's machine for a token; only code on the machine can."""

        def ask(_count: int) -> None:
            answer = self._control.post("/managed-identity/token", channel["body"])
            if "access_token" not in answer:
                raise RefusedError(str(answer.get("refused", "NoToken")))

        return ask

    def _registry(self, channel: Json) -> Attempt:
        """Exchange the Entra token for one of the registry, every time, and use that."""
        host = f"{channel['registry']}.azurecr.io"

        def push(count: int) -> None:
            aad = {"grant_type": "access_token", "service": host}
            aad["access_token"] = self._tokens[channel["token"]]
            refresh = self._form(f"https://{host}/oauth2/exchange", aad)["refresh_token"]
            wanted = {"grant_type": "refresh_token", "service": host, "scope": channel["scope"]}
            token = self._form(f"https://{host}/oauth2/token", wanted | {"refresh_token": refresh})
            for step in channel["steps"]:
                self._send(filled(step, count), bearer=token["access_token"])

        return push

    def _wake(self, channel: Json) -> Attempt:
        """Publish an event; only its delivery to the agent is a success."""
        publish = self._call(channel)
        about = {"subscription": channel["subscription"]}

        def wake(count: int) -> None:
            before = self._control.post("/events/delivered", about)["delivered"]
            publish(count)
            if self._control.post("/events/delivered", about)["delivered"] == before:
                raise RefusedError("NotDelivered")

        return wake

    def _promote(self, channel: Json) -> Attempt:
        """Start a run of a pipeline, which then goes through to its end."""
        start = self._call(channel)

        def promote(count: int) -> None:
            start(count)
            self._control.post(channel["finish"], channel["place"])

        return promote

    def _form(self, url: str, form: dict[str, str]) -> Json:
        return dict(self._send({"method": "POST", "url": url, "form": form}).json())

    def _send(self, step: Json, *, bearer: str = "") -> httpx.Response:
        token = bearer or self._tokens.get(step.get("token", ""), "")
        headers = {**step.get("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        try:
            answer = self._client.request(
                step["method"],
                step["url"],
                headers=headers,
                json=step.get("json"),
                content=step.get("content"),
                data=step.get("form"),
            )
        except httpx.HTTPError as error:
            raise RefusedError(type(error).__name__) from error
        if answer.is_error:
            raise RefusedError(code_of(answer))
        return answer


def code_of(answer: httpx.Response) -> str:
    """Return the code of a refusal, in whichever way the host words it; the status where it has none."""
    if "x-ms-error-code" in answer.headers:
        return str(answer.headers["x-ms-error-code"])
    try:
        body = answer.json()
    except ValueError:
        body = {}  # not every host answers in JSON: the status says enough
    return _code_in(body) or f"Http{answer.status_code}"


def _code_in(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
    if body.get("error_codes"):
        return f"AADSTS{body['error_codes'][0]}"
    if body.get("errors"):
        return str(body["errors"][0].get("code", ""))
    error = body.get("error")
    if isinstance(error, dict):
        return str(error.get("code", ""))
    return str(body.get("typeKey") or body.get("code") or "")


main = command_of(AzureRepertoire)

if __name__ == "__main__":
    main()
