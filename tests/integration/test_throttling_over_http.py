"""Tests of the response to too many requests over HTTP."""

from collections.abc import Iterator

import pytest
from api_client import Api
from documented import Documented, closed, load

from local.seed import container_id
from local.stack import LocalStack

BURST = 2


@pytest.fixture(scope="module")
def throttled() -> Iterator[Api]:
    """A stack that allows a burst of two requests, and then one request a second."""
    parameters = {"WaitSeconds": "8", "ThrottleRate": "1", "ThrottleBurst": str(BURST)}
    with LocalStack(port=0, parameters=parameters) as stack:
        client = Api(stack.url)
        yield client
        client.close()


def test_too_many_requests(throttled: Api) -> None:
    responses = [throttled.get(container_id(12), "operator") for _ in range(20)]
    assert [response.status_code for response in responses[:BURST]] == [200] * BURST
    refused = [response for response in responses if response.status_code != 200]
    # Twenty requests take less than 18 seconds.
    assert refused
    for response in refused:
        assert response.status_code == 429
        assert response.json() == {
            "statusCode": 429,
            "error": "Too Many Requests",
            "code": "RATE_LIMITED",
            "message": "Too many requests",
        }
        assert Documented(closed(load())).check("getContainer", response)
        assert response.headers["Retry-After"] == "1"
        assert response.headers["X-Request-Id"]
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        # Scripts in a browser can read the header.
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
    assert len({response.headers["X-Request-Id"] for response in responses}) == len(responses)
