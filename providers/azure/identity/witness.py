"""Prove the loss of an identity by its own tokens: those from before, and the issue of fresh ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256

import httpx

from firebreak.errors import PermanentCloudError, TransientCloudError
from firebreak.evidence.vault import Vault
from firebreak.measure import Context, found
from firebreak.model import Finding, Method, Target
from firebreak.probing import Answer, Control, Kind, control_of, judge, unproved
from providers.azure.answers import RestError
from providers.azure.identity.issue import Way
from providers.azure.identity.principals import Principal, identity
from providers.azure.probes import Token, classify
from providers.azure.resources.identities import Probe
from providers.azure.session import AzureAccess

NO_WAY = "the inventory declares no way to its tokens"


class Witness:
    """Tokens of the workload, taken before the change and kept sealed until the end of the run.

    They live for about 24 hours and are not subject to continuous access evaluation (Microsoft Entra,
    "Continuous access evaluation for workload identities"), so that their refusal is authorization's.
    """

    def __init__(
        self,
        context: Context[AzureAccess],
        measure: str,
        target: Target,
        ways: Sequence[Way],
        more: Iterable[Probe] = (),
    ) -> None:
        """``more`` are probes beside the declared ones: they add to the proof where they worked before."""
        self._access = context.access
        self._vault: Vault = context.vault
        self._ways = ways
        self._probes: tuple[Probe, ...] = identity(context.run.workload, target).probes
        self._more = tuple(each for each in more if each not in self._probes)
        place = sha256(target.key.lower().encode()).hexdigest()[:16]
        self._key = f"sealed/{context.run.incident_id}/{measure}/{place}"

    def take(self, principal: Principal) -> Control:
        """Obtain tokens, try every probe, and keep the tokens; explains why where that fails."""
        if not self._probes:
            return Control((), "the inventory declares no probe for it")
        reasons = []
        for way in self._ways:
            tokens, reason = self._tokens(way, principal, self._probes)
            if not reason:
                return self._taken(way, principal, tokens)
            reasons.append(f"{way.name}: {reason}")
        return Control((), "; ".join(reasons) or NO_WAY)

    def _taken(self, way: Way, principal: Principal, tokens: dict[str, str]) -> Control:
        """The control by the declared probes, and by the others as far as they work."""
        control = control_of(_tried(self._access, self._probes, tokens))
        if not control.works:
            return control
        more, gap = self._tokens(way, principal, self._more)
        answers = [_settled(each) for each in _tried(self._access, self._more, more)]
        works = [each.call for each in answers if each.kind is Kind.ALLOWED]
        gaps = [each.text for each in answers if each.kind is not Kind.ALLOWED]
        self._vault.hide(self._key, json.dumps(more | tokens).encode())
        return Control((*control.works, *works), gaps=(*gaps, *([gap] if gap else [])))

    def observe(self, control: Control, subject: str) -> Finding:
        """Try again what worked, with the tokens from before the change."""
        if not control.works:
            return unproved(subject, control.why_not)
        secret = self._vault.reveal(self._key)
        if secret is None:
            return unproved(subject, "the token taken before the change is gone")
        tokens: dict[str, str] = json.loads(secret)
        if any(Token(value).expired for value in tokens.values()):
            return unproved(subject, "the token taken before the change ended by its own time")
        return judge(_tried(self._access, (*self._probes, *self._more), tokens), control, subject)

    def _tokens(self, way: Way, principal: Principal, probes: Iterable[Probe]) -> tuple[dict[str, str], str]:
        """One token per audience, all of them the principal's; else those that came, and what kept one."""
        tokens: dict[str, str] = {}
        for audience in dict.fromkeys(probe.audience for probe in probes):
            try:
                token = way.issue(audience)
            except (RestError, httpx.HTTPError) as error:
                return tokens, _settled(classify(f"a token for {audience}", error)).text
            except PermanentCloudError as error:
                return tokens, str(error)
            if token.object_id != principal.object_id.lower():
                return tokens, f"the token is {token.object_id}'s, not {principal.object_id}'s"
            tokens[audience] = token.value
        return tokens, ""


def _tried(access: AzureAccess, probes: Iterable[Probe], tokens: dict[str, str]) -> list[Answer]:
    """Try each probe that there is a token for."""
    chosen = [probe for probe in probes if probe.audience in tokens]
    return [Token(tokens[probe.audience]).try_out(access, probe) for probe in chosen]


class FreshIssue:
    """A fresh token, asked for on the first way that gave one before; it is not kept."""

    def __init__(self, ways: Sequence[Way], why_not: str = NO_WAY) -> None:
        self._ways = ways
        self._why_not = why_not

    def take(self) -> Control:
        """See on which way a token is issued before the change."""
        reasons = []
        for way in self._ways:
            answer = self._attempt(way, way.audiences[0])
            if isinstance(answer, Token):
                return Control((way.name,))
            reasons.append(f"{way.name}: {_settled(answer).text}")
        if not reasons:
            return Control((), self._why_not)
        return Control((), f"no token was issued before the change: {'; '.join(reasons)}")

    def observe(self, control: Control, since: datetime) -> Finding:
        """Ask for a token again; one that is older than the change was kept somewhere, and says nothing."""
        way = next((each for each in self._ways if each.name in control.works), None)
        if way is None:
            return unproved("fresh token", control.why_not or self._why_not)
        subject = f"fresh token by {way.name}"
        for audience in way.audiences:
            answer = self._attempt(way, audience)
            if isinstance(answer, Token) and answer.issued_at < since.replace(microsecond=0):
                continue  # from the metadata service's cache; it has none for the next audience, perhaps
            return _judged(answer, subject)
        return unproved(subject, "the metadata service answered with tokens that it had kept")

    def _attempt(self, way: Way, audience: str) -> Token | Answer:
        call = "token issue"
        try:
            return way.issue(audience)
        except (RestError, httpx.HTTPError) as error:
            return classify(call, error)
        except PermanentCloudError as error:
            return Answer(call, Kind.UNKNOWN, str(error))


def _judged(answer: Token | Answer, subject: str) -> Finding:
    if isinstance(answer, Token):
        return found(Method.LIVE_PROBE, f"{subject} was issued", holds=False)
    holds = answer.kind in {Kind.DENIED, Kind.DEAD}
    text = f"{subject}: {answer.text}"
    return found(Method.LIVE_PROBE, text, holds=holds, inconclusive=not holds, answer=answer.json())


def _settled(answer: Answer) -> Answer:
    """The answer, unless trying again may give another one: raises TransientCloudError then."""
    if answer.transient:
        raise TransientCloudError(f"the positive control could not be taken: {answer.text}")
    return answer
