"""Translate between HTTP requests and named AWS operations, for every protocol of the AWS service models."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from botocore.model import OperationNotFoundError
from moto.core.exceptions import ServiceException, _RESTError
from moto.core.parse import PROTOCOL_PARSERS, RequestParserError
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.exceptions import NotFound

from drills.sandbox.aws.errors import ApiError

Environ = dict[str, Any]

# Signing names that are not, or not only, the name of one service model (botocore data, `signingName`).
_MODELS_BY_SIGNING_NAME: Mapping[str, tuple[str, ...]] = {
    "bedrock": ("bedrock-runtime", "bedrock-agent-runtime", "bedrock-agent", "bedrock"),
    "bedrock-agentcore": ("bedrock-agentcore", "bedrock-agentcore-control"),
    "cassandra": ("keyspaces",),
    "dynamodb": ("dynamodb", "dynamodbstreams"),
    "elasticloadbalancing": ("elbv2", "elb"),
    "elasticmapreduce": ("emr",),
    "email": ("ses",),
    "monitoring": ("cloudwatch",),
    "s3": ("s3", "s3control"),
    "sagemaker": ("sagemaker", "sagemaker-runtime"),
    "ses": ("sesv2", "ses"),
    "states": ("stepfunctions",),
    "tagging": ("resourcegroupstaggingapi",),
}
_UNKNOWN = "Unknown"
_BAD_REQUEST = 400
MOTO_ERRORS = (_RESTError, ServiceException)


@dataclass
class ApiCall:
    """One request to an AWS API, named and parsed."""

    environ: Environ
    body: bytes
    model: str
    signing_name: str
    operation: str
    params: dict[str, Any]
    region: str
    access_key_id: str
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)

    def header(self, name: str) -> str | None:
        """Return the value of a request header."""
        return self.headers.get(name.lower())


@dataclass(frozen=True)
class Answer:
    """An HTTP answer that is complete in memory."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    error_code: str | None = None


def read_body(environ: Environ) -> bytes:
    """Read the request body once and leave it readable for the emulator."""
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        body = stream.read()
    else:
        body = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return bytes(body)


def parse_call(environ: Environ, body: bytes) -> ApiCall:
    """Name the operation of a request and parse its parameters by the service model."""
    headers = _headers(environ)
    access_key_id, region, signing_name = _credential_scope(headers.get("authorization", ""))
    request = Request(environ)
    model, operation, params = _named(request, signing_name, body)
    environ["wsgi.input"] = io.BytesIO(body)
    return ApiCall(environ, body, model, signing_name, operation, params, region, access_key_id, headers)


def _headers(environ: Environ) -> dict[str, str]:
    found = {
        key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")
    }
    if environ.get("CONTENT_TYPE"):
        found["content-type"] = environ["CONTENT_TYPE"]
    return found


def _credential_scope(authorization: str) -> tuple[str, str, str]:
    """Return access key id, region and signing name; an unsigned request is taken as anonymous S3."""
    credential = authorization.partition("Credential=")[2].partition(",")[0].strip()
    parts = credential.split("/")
    if len(parts) != 5:  # noqa: PLR2004 - key/date/region/service/aws4_request, the SigV4 credential scope
        return "", "us-east-1", "s3"
    return parts[0], parts[2], parts[3].lower()


def _named(request: Request, signing_name: str, body: bytes) -> tuple[str, str, dict[str, Any]]:
    for model in _models(signing_name):
        try:
            operation, uri_params = _operation(request, model, body)
        except (NotFound, NotImplementedError, OperationNotFoundError):
            continue  # another model of the same signing name may know this request
        return model, operation, _params(request, model, operation, uri_params)
    return _models(signing_name)[0], _UNKNOWN, {}


def _models(signing_name: str) -> tuple[str, ...]:
    return _MODELS_BY_SIGNING_NAME.get(signing_name, (signing_name,))


def _operation(request: Request, model: str, body: bytes) -> tuple[str, dict[str, Any]]:
    target = request.headers.get("X-Amz-Target")
    if target:
        return _targeted(model, target), {}
    if (request.content_type or "").startswith("application/x-www-form-urlencoded") and model != "s3":
        action = parse_qs(body.decode()).get("Action", [_UNKNOWN])[0]
        get_service_model(model).operation_model(action)
        return action, {}
    if "/operation/" in request.path and request.path.startswith("/service/"):
        return request.path.rpartition("/")[2], {}  # Smithy RPC v2 CBOR, protocol specification
    operation, uri_params = get_service_router(model).match(request)
    return str(operation.name), dict(uri_params)


def _targeted(model: str, target: str) -> str:
    prefix, _, operation = target.rpartition(".")
    service_model = get_service_model(model)
    expected = service_model.metadata.get("targetPrefix")
    if expected != prefix:
        raise NotImplementedError(target)
    service_model.operation_model(operation)
    return operation


def _params(request: Request, model: str, operation: str, uri_params: dict[str, Any]) -> dict[str, Any]:
    service_model = get_service_model(model)
    try:
        protocol = determine_request_protocol(service_model, request.content_type)
        parser = PROTOCOL_PARSERS[protocol](service_model.operation_model(operation))
        parsed = parser.parse(
            {
                "method": request.method,
                "values": request.values,
                "headers": request.headers,
                "body": request.get_data(),
                "url_path": request.path,
                "url_params": uri_params,
            },
        )
    except (NotImplementedError, KeyError, ValueError, RequestParserError):
        return {}  # the emulator answers malformed requests itself; authorisation then sees no parameters
    return dict(parsed or {})


@cache
def _protocol(model: str) -> str:
    return str(get_service_model(model).protocol)


def protocol_of(call: ApiCall) -> str:
    """Return the protocol this call's answer must use."""
    try:
        return str(determine_request_protocol(get_service_model(call.model), call.header("content-type")))
    except NotImplementedError:
        return _protocol(call.model)


def render_result(call: ApiCall, result: Mapping[str, Any]) -> Answer:
    """Serialise the response members of an operation."""
    operation_model = get_service_model(call.model).operation_model(call.operation)
    serializer = get_serializer_class(call.model, protocol_of(call))(operation_model=operation_model)
    rendered = serializer.serialize(dict(result))
    body = rendered["body"]
    headers = [(str(name), str(value)) for name, value in rendered["headers"].items()]
    headers.append(("x-amzn-requestid", _request_id()))
    return Answer(int(rendered["status_code"]), headers, body.encode() if isinstance(body, str) else body)


def render_error(call: ApiCall, error: ApiError) -> Answer:
    """Serialise an error the way the protocol of the call carries it."""
    renderer = _ERROR_RENDERERS.get(protocol_of(call), _json_error)
    content_type, extra, body = renderer(error)
    if call.environ.get("REQUEST_METHOD") == "HEAD":
        body = ""
    headers = [("Content-Type", content_type), ("x-amzn-requestid", _request_id()), *extra]
    return Answer(error.status, headers, body.encode(), error.code)


def as_api_error(call: ApiCall, error: _RESTError | ServiceException) -> ApiError:
    """Translate an error that moto raised outside of its own request handling."""
    if isinstance(error, _RESTError):
        return ApiError(str(error.error_type), str(error.message), int(error.code or _BAD_REQUEST))
    model: Any = get_service_model(call.model)
    shape = model.shape_for_error_code(error.code)
    known = shape.metadata.get("error", {}) if shape is not None else {}
    return ApiError(error.code, error.message, int(known.get("httpStatusCode", _BAD_REQUEST)))


def _request_id() -> str:
    return secrets.token_hex(16)


_Rendered = tuple[str, list[tuple[str, str]], str]


def _json_error(error: ApiError) -> _Rendered:
    document = json.dumps({"__type": error.code, "message": error.message, "Message": error.message})
    extra = [("x-amzn-errortype", error.code), ("x-amzn-query-error", f"{error.code};Sender")]
    return "application/x-amz-json-1.1", extra, document


def _query_error(error: ApiError) -> _Rendered:
    inner = f"<Type>Sender</Type><Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
    body = f"<ErrorResponse><Error>{inner}</Error><RequestId>{_request_id()}</RequestId></ErrorResponse>"
    return "text/xml", [], body


def _ec2_error(error: ApiError) -> _Rendered:
    inner = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
    body = (
        f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{_request_id()}</RequestID></Response>"
    )
    return "text/xml", [], body


def _rest_xml_error(error: ApiError) -> _Rendered:
    body = f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
    return "application/xml", [], body


_ERROR_RENDERERS = {
    "query": _query_error,
    "ec2": _ec2_error,
    "rest-xml": _rest_xml_error,
}
