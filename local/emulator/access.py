"""The access check of the emulator: a request needs the credentials of this run, and cannot come from a web page."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from local import hosts
from local.emulator.errors import AwsError
from local.emulator.wire import Request

# https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[^,\s]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
# Error codes in the JSON and REST protocols, and in the query protocols.
_FORBIDDEN = ("AccessDeniedException", "AccessDenied")
_UNSIGNED = ("MissingAuthenticationTokenException", "MissingAuthenticationToken")
_UNKNOWN_KEY = ("UnrecognizedClientException", "InvalidClientTokenId")
_WRONG_SIGNATURE = ("InvalidSignatureException", "SignatureDoesNotMatch")


@dataclass(frozen=True)
class Credentials:
    """An access key that only one emulator accepts. No AWS account does: the format differs from AWS's."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    @classmethod
    def random(cls, access_key_id: str | None = None) -> Credentials:
        """Return credentials with a random secret, and a random id if none is given.

        The id contains only letters and digits, as DynamoDB Local requires.
        """
        return cls(access_key_id or f"LOCAL{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))


class AccessCheck:
    """Refuses requests of web pages, and requests that are not signed with the credentials.

    Args:
        credentials: The only valid credentials.
        names: Host names that are valid in addition to the loopback names, such as `host.docker.internal`.
    """

    def __init__(self, credentials: Credentials, names: Iterable[str] = ()) -> None:
        self._credentials = credentials
        self._names = hosts.LOOPBACK | {name.lower() for name in names}

    def check(self, request: Request, environ: dict[str, Any], port: int) -> None:
        """Check a request to the emulator.

        Args:
            request: The parsed request.
            environ: The WSGI environment that was parsed, with the body in memory.
            port: The port of the emulator.

        Raises:
            AwsError: The request is refused. The status is 403.
        """
        # Browsers send this header, programs do not.
        if "HTTP_ORIGIN" in environ:
            raise _refusal(request, _FORBIDDEN, "The emulated AWS accepts no requests from web pages.")
        if not hosts.is_allowed(str(environ.get("HTTP_HOST", "")), self._names, port):
            raise _refusal(request, _FORBIDDEN, "The Host header does not name this emulated AWS.")
        match = _AUTHORIZATION.fullmatch(str(environ.get("HTTP_AUTHORIZATION", "")))
        if match is None:
            raise _refusal(request, _UNSIGNED, "The request is not signed with Signature Version 4.")
        if not hmac.compare_digest(match["key"].encode(), self._credentials.access_key_id.encode()):
            raise _refusal(request, _UNKNOWN_KEY, "The access key is not the one of the running local stack.")
        if not hmac.compare_digest(match["signature"], self._signature(match, environ)):
            raise _refusal(request, _WRONG_SIGNATURE, "The signature does not match the request and the secret key.")

    def _signature(self, match: re.Match[str], environ: dict[str, Any]) -> str:
        keys = ReadOnlyCredentials(self._credentials.access_key_id, self._credentials.secret_access_key, None)
        signer = SigV4Auth(keys, match["service"], match["region"])
        signed = AWSRequest(
            method=environ["REQUEST_METHOD"],
            url=f"http://{environ['HTTP_HOST']}{environ['RAW_URI']}",
            headers={name: _header(environ, name) for name in match["headers"].split(";")},
            data=environ["wsgi.input"].getvalue(),
        )
        signed.context["timestamp"] = environ.get("HTTP_X_AMZ_DATE", "")
        return str(signer.signature(signer.string_to_sign(signed, signer.canonical_request(signed)), signed))


def _header(environ: dict[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    return str(environ.get(key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}", ""))


def _refusal(request: Request, codes: tuple[str, str], message: str) -> AwsError:
    return AwsError(codes[1] if request.protocol == "query" else codes[0], message, 403)
