"""Phase 2 on AWS, inter-agent channels: nobody but the responder sends to or reads from them.

Reaching a queue or topic needs no network path of the workload, so security groups do not cut it.
"""

from __future__ import annotations

import json
from typing import Any

from firebreak.declarations import of_kind, targets_of
from firebreak.measure import Permission, found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from firebreak.probing import Control
from firebreak.session import owner_mark
from providers.aws import permissions, probes
from providers.aws.answers import translated
from providers.aws.documents import carries, compact, document, with_deny, without_deny
from providers.aws.principals import PROBE_ROLE
from providers.aws.resources import IamRole, Probe, SnsTopic, SqsQueue
from providers.aws.session import AwsMeasure

QUEUE = on_target("sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:SetQueueAttributes")
TOPIC = on_target("sns:GetTopicAttributes", "sns:SetTopicAttributes")
SID = "FirebreakCut"


class CutQueueChannels(AwsMeasure, cloud=Cloud.AWS, phase=Phase.NETWORK_ISOLATE, name="cut-queue-channels"):
    """Deny every principal but the responder on the workload's SQS queues and SNS topics."""

    permissions = (*QUEUE, *TOPIC, *PROBE_ROLE)

    @classmethod
    def applies_to(cls, workload: Workload) -> list[Target]:
        """The declared queues and topics."""
        resources = (*of_kind(workload.channels, SqsQueue), *of_kind(workload.channels, SnsTopic))
        return targets_of(workload, resources)

    @classmethod
    def needed(cls, target: Target) -> tuple[Permission, ...]:
        """What the target's own service asks for."""
        return QUEUE if target.kind == "sqs-queue" else TOPIC

    def blast_radius(self, target: Target) -> tuple[str, ...]:
        """The others that the inventory says use the channel."""
        return next((each.shared_with for each in self.run.workload.channels if each.ref == target.ref), ())

    def snapshot(self, target: Target) -> JsonObject:
        """Read the resource policy as it is, and see whether the workload can look at the channel."""
        session = self._session(target)
        control = session.take() if session else Control((), "no role is declared")
        return {"policy": self._text(target), "control": control.json()}

    def apply(self, target: Target, state: State) -> Change:
        """Put our deny in front of the other statements."""
        current = _parsed(self._text(target))
        wanted = with_deny(current, self._deny(target))
        changed = current != wanted
        if changed:
            self._set(target, compact(wanted))
        return self.done(target, state, changed=changed, policy=wanted)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The deny stands as written; a session that could look at the channel is refused now."""
        actual = _parsed(self._text(target))
        denies = carries(actual, self._deny(target))
        text = "denies all but the responder" if denies else "does not carry the deny"
        policy = found(Method.EFFECTIVE_POLICY, f"the channel's policy {text}", holds=denies, policy=actual)
        return policy, *self._probe(target, change)

    def revert(self, change: Change) -> Finding:
        """Put the original policy back, or none."""
        target, text = change.target, change.before["policy"]
        before, current = _parsed(text), _parsed(self._text(change.target))
        wanted = without_deny(current, before, self._deny(target))
        if current != wanted:
            self._set(target, text if wanted == before else compact(wanted) if wanted else "")
        actual = _parsed(self._text(target))
        same = actual == wanted
        told = (
            "restored" if actual == before else "has no deny left" if same else "differs from the pre-state"
        )
        return found(Method.EFFECTIVE_POLICY, f"the channel's policy {told}", holds=same, policy=actual)

    def _probe(self, target: Target, change: Change) -> tuple[Finding, ...]:
        control, session = Control.of(change.before), self._session(target)
        if session is None or not control.works:
            return ()  # the workload was never allowed the harmless read, so only the policy can speak
        return (
            session.observe(control, "the workload's session (also denied by its identity) on the channel"),
        )

    def _session(self, target: Target) -> probes.ProbeSession | None:
        roles = of_kind(self.run.workload.identities, IamRole)
        if not roles:
            return None
        role = target.model_copy(update={"kind": "iam-role", "ref": roles[0].ref, "parent": target.ref})
        return probes.ProbeSession(
            self.access, self.context.vault, self.name, role, probes=(_harmless_read(target),)
        )

    def _deny(self, target: Target) -> JsonObject:
        name = "cut-queue" if target.kind == "sqs-queue" else "cut-topic"
        sid, mine = f"{SID}{owner_mark(self.run)}", permissions.responder_arns(self.access)
        # One alone is a string, as it always was: a deny from before must still be found as written.
        responder = mine[0] if len(mine) == 1 else mine
        return document(name, sid=sid, channel=target.ref, responder=responder)

    def _text(self, target: Target) -> str:
        """The policy text as the service gives it; empty where there is none."""
        with translated(target.ref):
            if target.kind == "sqs-queue":
                answer: Any = self.access.client("sqs").get_queue_attributes(
                    QueueUrl=self._url(target), AttributeNames=["Policy"]
                )
            else:
                answer = self.access.client("sns").get_topic_attributes(TopicArn=target.ref)
        return str(answer.get("Attributes", {}).get("Policy", ""))

    def _set(self, target: Target, policy: str) -> None:
        with translated(target.ref):
            if target.kind == "sqs-queue":
                self.access.client("sqs").set_queue_attributes(
                    QueueUrl=self._url(target), Attributes={"Policy": policy}
                )
            else:
                self.access.client("sns").set_topic_attributes(
                    TopicArn=target.ref, AttributeName="Policy", AttributeValue=policy
                )

    def _url(self, target: Target) -> str:
        account, name = target.ref.rsplit(":", 2)[-2:]
        return self.access.client("sqs").get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)[
            "QueueUrl"
        ]


def _harmless_read(target: Target) -> Probe:
    if target.kind == "sqs-queue":
        account, name = target.ref.rsplit(":", 2)[-2:]
        parameters = {"QueueName": name, "QueueOwnerAWSAccountId": account}
        return Probe(service="sqs", operation="GetQueueUrl", parameters=parameters)
    return Probe(service="sns", operation="GetTopicAttributes", parameters={"TopicArn": target.ref})


def _parsed(text: str) -> JsonObject | None:
    return dict(json.loads(text)) if text else None
