"""Phase 2 on AWS, inter-agent channels: nobody but the responder sends to or reads from them.

Reaching a queue or topic needs no network path of the workload, so security groups do not cut it.
"""

from __future__ import annotations

import json
from typing import Any

from firebreak.measure import Permission, found, on_target
from firebreak.model import Change, Cloud, Finding, JsonObject, Method, Phase, State, Target, Workload
from providers.aws import permissions, probes
from providers.aws.documents import compact, document, statements
from providers.aws.principals import PROBE_ROLE
from providers.aws.resources import IamRole, Probe, SnsTopic, SqsQueue, of_kind
from providers.aws.session import AwsMeasure, translated

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
        return [
            Target(kind=each.kind, ref=each.ref, account=workload.account, region=workload.region)
            for each in resources
        ]

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
        control = session.take() if session else probes.Control((), "no role is declared")
        return {"policy": self._text(target), "control": control.json()}

    def apply(self, target: Target, state: State) -> Change:
        """Add our deny to the original statements."""
        wanted = self._wanted(target, state.values["policy"])
        changed = _parsed(self._text(target)) != wanted
        if changed:
            self._set(target, compact(wanted))
        return self.done(target, state, changed=changed, policy=wanted)

    def verify(self, target: Target, change: Change) -> tuple[Finding, ...]:
        """The deny stands as written; a session that could look at the channel is refused now."""
        actual, wanted = _parsed(self._text(target)), self._wanted(target, change.before["policy"])
        text = "denies all but the responder" if actual == wanted else "is not as written"
        policy = found(
            Method.EFFECTIVE_POLICY, f"the channel's policy {text}", holds=actual == wanted, policy=actual
        )
        return policy, *self._probe(target, change)

    def revert(self, change: Change) -> Finding:
        """Put the original policy back, or none."""
        target, before = change.target, change.before["policy"]
        if _parsed(self._text(target)) != _parsed(before):
            self._set(target, before)
        actual = self._text(target)
        same = _parsed(actual) == _parsed(before)
        text = "restored" if same else "differs from the pre-state"
        return found(
            Method.EFFECTIVE_POLICY, f"the channel's policy {text}", holds=same, policy=_parsed(actual)
        )

    def _probe(self, target: Target, change: Change) -> tuple[Finding, ...]:
        control, session = probes.Control.of(change.before), self._session(target)
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

    def _wanted(self, target: Target, original: str) -> JsonObject:
        name = "cut-queue" if target.kind == "sqs-queue" else "cut-topic"
        responder = permissions.responder_arn(self.access)
        cut = document(name, channel=target.ref, responder=responder)
        before = _parsed(original) or {}
        others = [each for each in statements(before) if each.get("Sid") != SID]
        return {**cut, **before, "Statement": [*statements(cut), *others]}

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
