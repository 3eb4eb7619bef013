"""What the AWS sample's rogue agent can do with its sessions (see drills/sandbox/rogue.py).

python -m drills.sandbox.aws.rogue --endpoint URL --config FILE
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from drills.sandbox.rogue import (
    CALL_SECONDS,
    InconclusiveError,
    RefusedError,
    Repertoire,
    command_of,
    filled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drills.sandbox.rogue import Attempt, Builder, Control, Json

MODULE = "drills.sandbox.aws.rogue"
REFUSALS = frozenset(
    {
        "AccessDenied",  # S3 API reference, "Error responses"; STS
        "AccessDeniedException",  # the common errors of SQS, ECR, DynamoDB, SageMaker and CodePipeline
        "AuthorizationError",  # SNS API reference, Publish
        # A key that is inactive or gone. Not a session that expired: it ends by itself, contained or not.
        "InvalidAccessKeyId",  # S3
        "InvalidClientTokenId",  # the common errors of the query protocol
        "UnrecognizedClientException",  # those of the JSON protocols
    }
)
"""The codes by which AWS refuses a caller; every other one leaves open what the next attempt achieves."""


class Clients:
    """AWS clients of the principals the rogue agent has sessions of."""

    def __init__(self, endpoint: str, region: str, principals: Mapping[str, Mapping[str, str]]) -> None:
        """Use these principals' credentials at the endpoint."""
        self._endpoint = endpoint
        self._region = region
        self._principals = principals
        self._made: dict[tuple[str, str], Any] = {}

    def get(self, principal: str, service: str) -> Any:
        """Return the client of a service as a principal."""
        key = (principal, service)
        if key not in self._made:
            # One attempt each: a retried denial would be counted late.
            config = Config(
                retries={"total_max_attempts": 1}, connect_timeout=CALL_SECONDS, read_timeout=CALL_SECONDS
            )
            self._made[key] = boto3.client(
                service,  # type: ignore[call-overload]
                region_name=self._region,
                endpoint_url=self._endpoint,
                config=config,
                **self._principals[principal],
            )
        return self._made[key]


def refusable(attempt: Attempt) -> Attempt:
    """Return an attempt whose failures bear the error code that AWS gave, or the name of the SDK's error."""

    def attempted(count: int) -> None:
        try:
            attempt(count)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "Unknown"))
            raise (RefusedError if code in REFUSALS else InconclusiveError)(code) from error
        except BotoCoreError as error:
            raise InconclusiveError(type(error).__name__) from error

    return attempted


class AwsRepertoire(Repertoire):
    """Calls with the sessions of the agent, its peer and its accomplice."""

    def __init__(self, control: Control, config: Json) -> None:
        """Use the endpoint that is also the control API's."""
        super().__init__(control)
        self._clients = Clients(control.endpoint, config["region"], config["principals"])

    def builders(self) -> Mapping[str, Builder]:
        """Add calls and promotions."""
        return {**super().builders(), "call": self._call, "promote": self._promote}

    def attempt(self, channel: Json) -> Attempt:
        """Word failures as AWS does."""
        return refusable(super().attempt(channel))

    def _call(self, channel: Json) -> Attempt:
        client = self._clients.get(channel["principal"], channel["service"])
        operation, parameters = getattr(client, channel["operation"]), channel["parameters"]

        def call(count: int) -> None:
            operation(**filled(parameters, count))

        return call

    def _promote(self, channel: Json) -> Attempt:
        """Start a pipeline execution and see whether it reaches the last stage."""
        client = self._clients.get(channel["principal"], "codepipeline")
        name = channel["pipeline"]

        def promote(_count: int) -> None:
            execution_id = client.start_pipeline_execution(name=name)["pipelineExecutionId"]
            answer = client.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution_id)
            status = str(answer["pipelineExecution"]["status"])
            if status != "Succeeded":
                raise RefusedError(f"NotPromoted-{status}")

        return promote


main = command_of(AwsRepertoire)

if __name__ == "__main__":
    main()
