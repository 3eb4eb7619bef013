"""Phase 1 on Azure, secrets and certificates: nobody signs in as the workload's application."""

from __future__ import annotations

from typing import ClassVar

from firebreak.measure import found, on_any
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target
from firebreak.probing import Control
from providers.azure.answers import already, translated
from providers.azure.identity import principals
from providers.azure.identity.holders import Holders
from providers.azure.identity.issue import Secret
from providers.azure.identity.principals import READ_SECRET, Identity, IdentityMeasure
from providers.azure.identity.witness import FreshIssue
from providers.azure.resources.identities import ServicePrincipal

SECRET_FIELDS = ("displayName", "startDateTime", "endDateTime")
"""What is recorded of a secret beside its id; ``hint`` is its first characters, and is left out."""
GONE = ("Request_ResourceNotFound", "Request_BadRequest")
LOST = "Microsoft Entra never shows a client secret again, so that removed ones have to be issued anew"


class RemoveAppCredentials(
    IdentityMeasure, cloud=Cloud.AZURE, phase=Phase.IDENTITY_REVOKE, name="remove-app-credentials"
):
    """Remove every secret and certificate of the application and its service principal; certificates return.

    A certificate's public part is all that Entra holds, and release registers it again under its old id.
    Secrets are gone for good: release names each one, so that new ones can be issued.
    """

    kinds: ClassVar[tuple[type[Identity], ...]] = (ServicePrincipal,)
    irreversible = LOST
    for_service = (*on_any("graph:Application.ReadWrite.All"), *READ_SECRET)
    permissions = for_service

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """Everyone else who runs as it, and the application's instances in other tenants."""
        return (*super().blast_radius(target), *self._other_tenants(target))

    def snapshot(self, target: Target) -> JsonObject:
        """Read secrets' names and certificates, and see whether the declared secret signs in now."""
        principals.read(self.access, target)
        return {"holders": self._credentials(target), "control": self._fresh(target).take().json()}

    def apply(self, target: Target, state: State) -> Change:
        """Remove whatever is there now, including what was added since the snapshot."""
        present = self._credentials(target)
        self._holders(target).hold({"holders": state.values["holders"]})
        removed = [name for place, held in present.items() for name in self._remove(place, held)]
        return self.done(target, state, changed=bool(removed), removed=removed)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The declared secret signs in no more, and none is left."""
        left = [name for held in self._credentials(target).values() for name in _names(held)]
        text = f"still there: {', '.join(left)}" if left else "no secret and no certificate is left"
        listed = found(Method.CONFIGURATION, text, holds=not left, left=left)
        if not any(_names(held) for held in change.before["holders"].values()) and not change.after.get(
            "removed"
        ):
            return (listed,)  # there was no such way in, so there is nothing to try
        probe = self._fresh(target).observe(Control.of(change.before), change.applied_at)
        return probe, listed

    def revert(self, change: Change) -> Finding:
        """Register the certificates again; raises Irreversible, naming the secrets to issue anew."""
        holders = self._holders(change.target)
        before = {"holders": change.before["holders"]}
        if others := holders.others():
            holders.hand_over(before)
            text = f"stay removed while {', '.join(others)} is contained; its release restores certificates"
            return found(Method.CONFIGURATION, text, holds=True, held_by=list(others))
        owed = holders.owed(before)
        wrong = [name for each in owed for name in self._restore(each["holders"])]
        lost = sorted({name for each in owed for name in self._lost(each["holders"])})
        if wrong:
            return found(Method.CONFIGURATION, f"not as before: {', '.join(wrong)}", holds=False, lost=lost)
        holders.released()
        if lost:
            refusal = self.cannot_revert(change)
            refusal.remedy = f"issue anew: {', '.join(lost)}"
            raise refusal
        return found(Method.CONFIGURATION, "certificates as before; there was no secret", holds=True)

    def _places(self, target: Target) -> list[str]:
        identity = self._identity(target)
        principal = principals.directory_object(self.access, identity.ref)
        if principal.get("servicePrincipalType") == "ManagedIdentity":
            return []  # its certificate is Azure's own, which nobody can use or give back
        own = [f"/servicePrincipals/{identity.ref}"]
        registered = identity.application_object_id
        return [f"/applications/{registered}", *own] if registered else own

    def _credentials(self, target: Target) -> dict[str, JsonObject]:
        """Secrets without their text, certificates with their public part, by the object that holds them."""
        return {place: self._held(place) for place in self._places(target)}

    def _held(self, place: str) -> JsonObject:
        # Graph, keyCredential: ``key`` is shown only for one object and when it is asked for.
        query = {"$select": "id,passwordCredentials,keyCredentials"}
        with translated(place):
            found_object = self.access.graph().get(place, query=query) or {}
        return {
            "secrets": {
                each["keyId"]: {name: each.get(name) for name in SECRET_FIELDS}
                for each in found_object.get("passwordCredentials", ())
            },
            "certificates": {each["keyId"]: each for each in found_object.get("keyCredentials", ())},
        }

    def _remove(self, place: str, held: JsonObject) -> list[str]:
        for key_id in held["secrets"]:
            with already(place, *GONE):
                self.access.graph().post(f"{place}/removePassword", {"keyId": key_id})
        if held["certificates"]:
            # removeKey wants a proof of possession of the key; replacing the list does not.
            with translated(place):
                self.access.graph().patch(place, {"keyCredentials": []})
        return _names(held)

    def _restore(self, wanted: dict[str, JsonObject]) -> list[str]:
        """Register the certificates that are missing; returns what is not as before."""
        wrong = []
        for place, held in wanted.items():
            public = {key_id: each for key_id, each in held["certificates"].items() if each.get("key")}
            present = self._held(place)["certificates"]
            if any(present.get(key_id) != each for key_id, each in public.items()):
                with translated(place):
                    keys = list({**present, **public}.values())
                    self.access.graph().patch(place, {"keyCredentials": keys})
            actual = self._held(place)["certificates"]
            wrong += [f"{place} {key_id}" for key_id, each in public.items() if actual.get(key_id) != each]
        return wrong

    def _lost(self, before: dict[str, JsonObject]) -> list[str]:
        """The secrets that are no more, and certificates whose public part Entra did not show."""
        present = {name for place in before for name in _names(self._held(place))}
        return [name for held in before.values() for name in _names(held) if name not in present]

    def _other_tenants(self, target: Target) -> tuple[str, ...]:
        """Microsoft identity platform, "Supported account types": who may sign in with the application."""
        registered = self._identity(target).application_object_id
        if not registered:
            return ()
        with translated(registered):
            application = self.access.graph().get(f"/applications/{registered}") or {}
        alone = application.get("signInAudience", "AzureADMyOrg") == "AzureADMyOrg"
        return () if alone else (f"instances of application {application.get('appId')} in other tenants",)

    def _fresh(self, target: Target) -> FreshIssue:
        identity = self._identity(target)
        if not identity.credential_secret:
            return FreshIssue([], "the inventory declares no credential_secret for it")
        return FreshIssue([Secret(self.access, identity)])

    def _identity(self, target: Target) -> ServicePrincipal:
        identity = principals.identity(self.run.workload, target)
        if not isinstance(identity, ServicePrincipal):  # kinds says so
            raise TypeError(target.kind)
        return identity

    def _holders(self, target: Target) -> Holders:
        return Holders(self.context, self.name, target)


def _names(held: JsonObject) -> list[str]:
    """Secrets and certificates as people find them in the portal: by name and id."""
    return [
        f"{kind} {each.get('displayName') or 'without name'} ({key_id})"
        for kind, group in (("secret", "secrets"), ("certificate", "certificates"))
        for key_id, each in held[group].items()
    ]
