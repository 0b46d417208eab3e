"""Compression of responses.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-receive-response-with-compressed-payload.html
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence

from werkzeug.http import parse_accept_header

Headers = Sequence[tuple[str, str]]

_CODINGS: Mapping[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def compressed(accepted: str, minimum: int | None, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
    """Return the headers and the body of a response, compressed if the request and the API allow it.

    Args:
        accepted: The request's Accept-Encoding header.
        minimum: The size from which the API compresses responses, in bytes. None if it does not.
        headers: The headers of the response.
        body: The body of the response.
    """
    # Only the coding with the highest priority counts.
    coding, quality = next(iter(parse_accept_header(accepted.lower())), ("identity", 1))
    if coding not in _CODINGS or not quality or minimum is None or len(body) < minimum:
        return headers, body
    if any(name.lower() == "content-encoding" for name, _ in headers):
        return headers, body
    return [*headers, ("Content-Encoding", coding)], _CODINGS[coding](body)
