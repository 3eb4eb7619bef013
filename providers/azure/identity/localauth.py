"""Phase 1 on Azure, keys of AI services: credentials that no directory knows are switched off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from urllib.parse import urlsplit

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError
from firebreak.measure import found, on_any, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.probing import Answer, Control, control_of, judge, unproved
from providers.azure.answers import translated
from providers.azure.existence import existing
from providers.azure.identity.holders import Holders
from providers.azure.probes import attempt
from providers.azure.resources import declared
from providers.azure.resources.identities import AUDIENCES, AiAccount, audience_of
from providers.azure.rest import Rest
from providers.azure.session import AzureMeasure

VERSION = "2024-10-01"
"""api-version of ``Microsoft.CognitiveServices``."""
DATA_VERSION = "2024-10-21"
"""api-version of the Azure OpenAI data plane."""
KEYS = ("Key1", "Key2")
CALL = "GET /openai/models by key"
AI_AUDIENCES = {aud for host, aud in AUDIENCES.items() if ".openai." in host or ".ai." in host}
READ = on_target(
    "Microsoft.CognitiveServices/accounts/read", "Microsoft.CognitiveServices/accounts/listKeys/action"
)
WRITE = on_target("Microsoft.CognitiveServices/accounts/write")
REGENERATE = on_any("Microsoft.CognitiveServices/accounts/regenerateKey/action")


class DisableLocalAuth(
    AzureMeasure, cloud=Cloud.AZURE, phase=Phase.IDENTITY_REVOKE, name="disable-local-auth"
):
    """Switch off key access to the workload's AI account; make its keys anew where the inventory says so.

    Key access is for the whole account: others who use its keys lose them too, so declare ``shared_with``.
    """

    permissions = (*READ, *WRITE, *REGENERATE)
    irreversible = "where keys were made anew the old ones are gone for good; without that, all is restored"

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared AI accounts."""
        return targets_of(workload, of_kind(workload.identities, AiAccount))

    @classmethod
    def places(cls, action: str, target: Target, workload: Workload) -> tuple[str, ...]:
        """The account where its keys are made anew; nothing where they are not."""
        if action != REGENERATE[0].action:
            return super().places(action, target, workload)
        account = declared(workload, AiAccount, target.ref)
        return (target.ref,) if account and account.regenerate_keys else ()

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """The others that the inventory says use the account, which has to be there."""
        self._account(target)
        return self._declared(target).shared_with

    def snapshot(self, target: Target) -> JsonObject:
        """Read whether keys are accepted, and try one."""
        account = self._account(target)
        disabled = bool(account["properties"].get("disableLocalAuth", False))
        return {"disabled": disabled, "control": self._take(target, account, disabled=disabled).json()}

    def apply(self, target: Target, state: State) -> Change:
        """Make the keys anew while that is still possible, then switch key access off."""
        disabled = self._disabled(target)
        self._holders(target).hold({"disabled": state.values["disabled"]})
        if disabled:
            return self.done(target, state, changed=False, regenerated=[])
        regenerated = list(self._renewed(target)) if self._declared(target).regenerate_keys else []
        self._switch(target, disabled=True)
        return self.done(target, state, changed=True, regenerated=regenerated)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The key from before the change is refused, and the account accepts none."""
        disabled = self._disabled(target)
        text = "accepts no keys" if disabled else "still accepts keys"
        listed = found(Method.CONFIGURATION, f"the account {text}", holds=disabled)
        if change.before["disabled"]:
            return (listed,)  # no key was accepted before either, so there is none to try
        return self._observe(target, Control.of(change.before)), listed

    def revert(self, change: Change) -> Finding:
        """Accept keys again where they were accepted; raises Irreversible where they are new ones."""
        target, holders = change.target, self._holders(change.target)
        before = {"disabled": change.before["disabled"]}
        if others := holders.others():
            holders.hand_over(before)
            text = f"stays off while {', '.join(others)} is contained; its release switches keys on"
            return found(Method.CONFIGURATION, text, holds=True, held_by=list(others))
        wanted = bool(holders.owed(before)[0]["disabled"])
        if self._disabled(target) != wanted:
            self._switch(target, disabled=wanted)
        actual = self._disabled(target)
        if actual != wanted:
            return found(Method.CONFIGURATION, "key access is not as before", holds=False)
        holders.released()
        if self._declared(target).regenerate_keys and not wanted:
            refusal = self.cannot_revert(change)
            refusal.remedy = "key access is as before: give the new keys to whoever is entitled to them"
            raise refusal
        return found(Method.CONFIGURATION, "key access is as before", holds=True)

    def _declared(self, target: Target) -> AiAccount:
        found_account = declared(self.run.workload, AiAccount, target.ref)
        if found_account is None:
            raise PermanentCloudError("the inventory does not declare this account", resource=target.ref)
        return found_account

    def _account(self, target: Target) -> JsonObject:
        return existing(self.access, target.ref, VERSION, "the AI account")

    def _disabled(self, target: Target) -> bool:
        return bool(self._account(target)["properties"].get("disableLocalAuth", False))

    def _renewed(self, target: Target) -> Iterator[str]:
        """Make the keys anew, and name them; none are left to make where they were switched off meanwhile."""
        for key in KEYS:
            try:
                with translated(target.ref):
                    self.access.arm().post(f"{target.ref}/regenerateKey", {"keyName": key}, VERSION)
            except PermanentCloudError:
                if not self._disabled(target):
                    raise
                return
            yield key

    def _switch(self, target: Target, *, disabled: bool) -> None:
        with translated(target.ref):
            self.access.arm().patch(target.ref, {"properties": {"disableLocalAuth": disabled}}, VERSION)

    def _take(self, target: Target, account: JsonObject, *, disabled: bool) -> Control:
        """Try a key, and keep it sealed: the account shows none once they are off."""
        if disabled:
            return Control((), "the account accepted no keys before the change")
        with translated(target.ref):
            key = str(self.access.arm().post(f"{target.ref}/listKeys", None, VERSION)["key1"])
        endpoint = str(account["properties"].get("endpoint", ""))
        if audience_of(endpoint) not in AI_AUDIENCES:
            return Control((), f"a key may not be sent to {endpoint}")
        answer = self._try_key(endpoint, key)
        control = control_of([answer])
        if not control.works:
            return Control((), f"the account's key did not work before the change: {answer.text}")
        secret = json.dumps({"key": key, "endpoint": endpoint}).encode()
        self.context.vault.hide(self._place(target), secret)
        return control

    def _observe(self, target: Target, control: Control) -> Finding:
        subject = "the account's key from before the change"
        if not control.works:
            return unproved(subject, control.why_not)
        secret = self.context.vault.reveal(self._place(target))
        if secret is None:
            return unproved(subject, "the key taken before the change is gone")
        kept = json.loads(secret)
        return judge([self._try_key(kept["endpoint"], kept["key"])], control, subject)

    def _try_key(self, endpoint: str, key: str) -> Answer:
        parts = urlsplit(endpoint)
        service = Rest(f"https://{parts.netloc}", None)
        return attempt(CALL, service, f"/openai/models?api-version={DATA_VERSION}", {"api-key": key})

    def _place(self, target: Target) -> str:
        mark = sha256(target.key.lower().encode()).hexdigest()[:16]
        return f"sealed/{self.run.incident_id}/{self.name}/{mark}"

    def _holders(self, target: Target) -> Holders:
        return Holders(self.context, self.name, target)
