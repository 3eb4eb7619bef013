"""Run the connectivity canary function inside the packet simulator.

The emulator would need a container engine to run functions. The only function this sandbox runs is the
canary that a workload's owner deploys beside it: its name ends with `firebreak-canary`, it takes
`{"address", "port", "timeout"}`, tries one TCP connection from its own network interface and says what came.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from moto.awslambda.models import lambda_backends
from moto.ec2.models import ec2_backends

from drills.sandbox.aws.stubs import StubError, StubRequest, stub

CANARY_SUFFIX = "firebreak-canary"
Json = dict[str, Any]


def _function_arn(request: StubRequest) -> str:
    name = _name(request)
    return f"arn:aws:lambda:{request.region}:{request.account}:function:{name}"


def _name(request: StubRequest) -> str:
    given = str(request.params["FunctionName"])
    return (
        given.partition(":function:")[2].partition(":")[0]
        if given.startswith("arn:")
        else given.partition(":")[0]
    )


@stub("lambda", "Invoke", resource=_function_arn)
def invoke(request: StubRequest) -> Json:
    """Run a canary function once."""
    function = _function(request)
    if request.params.get("InvocationType") == "DryRun":
        return {"StatusCode": 204}
    event = json.loads(_text(request.params.get("Payload")) or "{}")
    result = json.dumps(_probe(request, function, event)).encode()
    return {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": result}


def _function(request: StubRequest) -> Any:
    name, arn = _name(request), _function_arn(request)
    functions = lambda_backends[request.account][request.region].list_functions()
    function = next((item for item in functions if item.function_name == name), None)
    if function is None:
        raise StubError("ResourceNotFoundException", f"Function not found: {arn}", 404)
    # Lambda developer guide, "Configuring reserved concurrency": zero stops all invocations.
    if str(function.reserved_concurrency) == "0":
        raise StubError("TooManyRequestsException", "Rate Exceeded.", 429)
    if not name.endswith(CANARY_SUFFIX):
        message = f"the sandbox runs no function code; only functions named *{CANARY_SUFFIX} can be invoked"
        raise StubError("ServiceException", message, 501)
    return function


def _text(payload: Any) -> str:
    content = payload.read() if hasattr(payload, "read") else payload
    return content.decode() if isinstance(content, bytes | bytearray) else str(content or "")


def _probe(request: StubRequest, function: Any, event: Json) -> Json:
    # Imported here because the simulator's module registers routes over the stubs of this package.
    from drills.sandbox.aws.netroutes import attempt  # noqa: PLC0415

    outcome = attempt(_source(request, function), str(event["address"]), int(event["port"]))
    return {
        "connected": outcome.allowed,
        # Security groups, ACLs and firewalls drop silently, so the function only ever sees a timeout.
        "error": "" if outcome.allowed else "timeout",
        "source_address": outcome.source_address,
        "source_port": outcome.source_port,
        "sent_at": datetime.fromtimestamp(outcome.sent_at, UTC).isoformat(timespec="milliseconds"),
    }


def _source(request: StubRequest, function: Any) -> str:
    """Return the function's network interface, made at its first use, or the internet without a VPC."""
    config = function.vpc_config or {}
    subnets = config.get("SubnetIds") or config.get("subnet_ids")
    if not subnets:
        return "internet"
    backend: Any = ec2_backends[request.account][request.region]
    # AWS describes these interfaces like this: Lambda developer guide, "Giving functions access to a VPC".
    prefix = f"AWS Lambda VPC ENI-{function.function_name}-"
    existing = next(
        (item for item in list(backend.enis.values()) if item.description.startswith(prefix)), None
    )
    if existing is None:
        groups = config.get("SecurityGroupIds") or config.get("security_group_ids")
        subnet = backend.get_subnet(subnets[0])
        existing = backend.create_network_interface(
            subnet, None, group_ids=groups, description=prefix + uuid.uuid4().hex
        )
        existing.interface_type = "lambda"
    return str(existing.id)
