"""Requests and errors in the formats of the AWS protocols (JSON 1.0 and 1.1, query, EC2, REST)."""

import io
import json
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from local.emulator.errors import AwsError
from local.emulator.faults import Call

_CREDENTIAL = re.compile(r"Credential=[^/,]+/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_SCHEDULE_PATH = re.compile(r"/schedules(?:/([^/]+))?")
# By method, and by whether the path names a schedule.
_SCHEDULE_OPERATIONS = {
    ("GET", False): "ListSchedules",
    ("POST", True): "CreateSchedule",
    ("GET", True): "GetSchedule",
    ("PUT", True): "UpdateSchedule",
    ("DELETE", True): "DeleteSchedule",
}
_DYNAMODB_ERRORS = "com.amazonaws.dynamodb.v20120810#"


@dataclass(frozen=True)
class Request:
    """A parsed request. `protocol` is json, query or rest; `content_type` is that of the response."""

    call: Call
    region: str
    protocol: str
    content_type: str


def parse(environ: dict[str, Any]) -> Request:
    """Parse a WSGI request. The body can be read again afterwards."""
    body = _read_body(environ)
    match = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    region = match["region"] if match else "us-east-1"
    service = match["service"] if match else ""
    content_type = str(environ.get("CONTENT_TYPE", ""))
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        call = Call(service, str(target).rpartition(".")[2], _json_object(body))
        return Request(call, region, "json", content_type or "application/x-amz-json-1.1")
    if content_type.startswith("application/x-www-form-urlencoded"):
        form: dict[str, Any] = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        call = Call(service, str(form.pop("Action", "")), form)
        return Request(call, region, "query", "text/xml")
    method, path = str(environ.get("REQUEST_METHOD", "")), str(environ.get("PATH_INFO", ""))
    call = Call(service, f"{method} {path}", _json_object(body))
    if service == "scheduler":
        call = _scheduler_call(method, path, dict(parse_qsl(str(environ.get("QUERY_STRING", "")))), call)
    return Request(call, region, "rest", "application/json")


def _scheduler_call(method: str, path: str, query: dict[str, str], call: Call) -> Call:
    """Return a call of EventBridge Scheduler by the name of its operation, if it concerns schedules."""
    match = _SCHEDULE_PATH.fullmatch(path)
    operation = _SCHEDULE_OPERATIONS.get((method, match[1] is not None)) if match else None
    if match is None or operation is None:
        return call
    # The name of the group is in the body, or in the query with one of two names.
    group = call.parameters.get("GroupName") or query.get("groupName") or query.get("ScheduleGroup") or "default"
    return Call("scheduler", operation, call.parameters | {"GroupName": group, "Name": match[1]})


def _read_body(environ: dict[str, Any]) -> bytes:
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if length:
        body = stream.read(int(length))
    elif environ.get("wsgi.input_terminated"):
        body = stream.read()
    else:
        body = b""
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return bytes(body)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def success(request: Request, body: dict[str, Any]) -> Response:
    """Return a JSON response. Times are converted to seconds since the epoch, as in AWS's JSON protocols."""
    return Response(json.dumps(body, default=_epoch), 200, _headers(), content_type=request.content_type)


def _epoch(value: Any) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


def failure(request: Request, error: AwsError) -> Response:
    """Return an error response in the format of the service's protocol."""
    service = request.call.service
    headers = _headers()
    if request.protocol == "query" or service == "s3":
        code, message = escape(error.code), escape(error.message)
        xml = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        if service == "ec2":
            xml = f"<Response><Errors>{xml}</Errors><RequestID>{uuid.uuid4()}</RequestID></Response>"
        elif service != "s3":
            xml = f"<ErrorResponse>{xml}<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
        return Response(xml, error.status, headers, content_type="text/xml")
    if request.protocol == "rest":
        headers["x-amzn-ErrorType"] = error.code
    prefix = _DYNAMODB_ERRORS if service == "dynamodb" else ""
    body = {"__type": prefix + error.code, "message": error.message, **error.extra}
    return Response(json.dumps(body), error.status, headers, content_type=request.content_type)


def _headers() -> dict[str, str]:
    # Without the second header, a web page can tell a response that it cannot read from a port without a server.
    return {"x-amzn-RequestId": str(uuid.uuid4()), "Cross-Origin-Resource-Policy": "same-origin"}
