"""The access check of the emulator: requests of web pages, other hosts and other keys are refused without effect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import emulated
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError
from emulated import REGION

from local.emulator import Credentials, Emulator

Headers = dict[str, str]

CREATE = json.dumps({"clusterName": "evil"}).encode()
# The name by which Docker's containers reach the host.
CONTAINERS_NAME = "host.docker.internal"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(names=[CONTAINERS_NAME]) as emulator:
        yield emulator


def signed(
    emulator: Emulator, host: str, credentials: Credentials | None = None, body: bytes = CREATE
) -> dict[str, str]:
    """Return the headers of a valid ecs:CreateCluster request to a host."""
    used = credentials or emulator.credentials
    headers = {
        "Host": host,
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.CreateCluster",
    }
    request = AWSRequest("POST", f"http://{host}/", headers, body)
    keys = ReadOnlyCredentials(used.access_key_id, used.secret_access_key, None)
    SigV4Auth(keys, "ecs", REGION).add_auth(request)
    return dict(request.headers.items())


def send(emulator: Emulator, headers: dict[str, str], method: str = "POST", path: str = "/") -> httpx.Response:
    with httpx.Client(base_url=emulator.url, trust_env=False) as client:
        return client.request(method, path, headers=headers, content=CREATE)


def clusters(emulator: Emulator) -> list[str]:
    ecs = emulated.client(emulator, "ecs")
    try:
        return [str(arn) for arn in ecs.list_clusters()["clusterArns"]]
    finally:
        ecs.close()


def assert_refused(emulator: Emulator, response: httpx.Response, code: str) -> None:
    assert response.status_code == 403
    assert response.json()["__type"] == code
    assert emulator.credentials.secret_access_key not in response.text
    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert emulator.calls.count("ecs", "CreateCluster") == 0
    assert clusters(emulator) == []


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:3000", "http://localhost", "null", ""])
@pytest.mark.parametrize("method", ["POST", "OPTIONS", "GET"])
def test_a_request_of_a_web_page_is_refused(emulator: Emulator, origin: str, method: str) -> None:
    headers = signed(emulator, f"127.0.0.1:{emulator.port}") | {"Origin": origin}
    assert_refused(emulator, send(emulator, headers, method), "AccessDeniedException")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1:{port}:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.:{port}",
        "0.0.0.0:{port}",
        "evil.example, 127.0.0.1:{port}",
        ":{port}",
        "",
    ],
)
def test_a_request_to_another_host_is_refused(emulator: Emulator, host: str) -> None:
    headers = signed(emulator, f"127.0.0.1:{emulator.port}") | {"Host": host.format(port=emulator.port)}
    assert_refused(emulator, send(emulator, headers), "AccessDeniedException")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer x",
        "AWS4-HMAC-SHA256 Credential=x",
        "AWS4-HMAC-SHA256 Credential={id}/20250101/us-east-1/ecs/aws4_request, SignedHeaders=host, Signature=",
        "AWS {id}:signature",
    ],
)
def test_an_unsigned_request_is_refused(emulator: Emulator, authorization: str | None) -> None:
    headers = signed(emulator, f"127.0.0.1:{emulator.port}")
    del headers["Authorization"]
    if authorization is not None:
        headers["Authorization"] = authorization.format(id=emulator.credentials.access_key_id)
    assert_refused(emulator, send(emulator, headers), "MissingAuthenticationTokenException")


def test_another_access_key_is_refused(emulator: Emulator) -> None:
    host = f"127.0.0.1:{emulator.port}"
    for known in (Credentials("longshorelocal", "longshorelocal"), Credentials("test", "test"), Credentials.random()):
        assert_refused(emulator, send(emulator, signed(emulator, host, known)), "UnrecognizedClientException")
    guessed = Credentials(emulator.credentials.access_key_id, "guessed")
    assert_refused(emulator, send(emulator, signed(emulator, host, guessed)), "InvalidSignatureException")


def test_a_changed_request_is_refused(emulator: Emulator) -> None:
    host = f"127.0.0.1:{emulator.port}"
    changed = [
        (signed(emulator, host, body=b"{}"), "/"),
        (signed(emulator, host), "/other"),
        (signed(emulator, host), "/?x=1"),
        (signed(emulator, host) | {"X-Amz-Date": "20200101T000000Z"}, "/"),
        (signed(emulator, host) | {"X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DeleteCluster"}, "/"),
    ]
    for headers, path in changed:
        assert_refused(emulator, send(emulator, headers, path=path), "InvalidSignatureException")


def test_the_control_api_of_moto_is_not_available(emulator: Emulator) -> None:
    with httpx.Client(base_url=emulator.url, trust_env=False) as client:
        for path in ("/moto-api/", "/moto-api/data.json", "/favicon.ico", "/latest/meta-data/iam/"):
            assert client.get(path).status_code == 403
        assert client.post("/moto-api/reset").status_code == 403


@pytest.mark.parametrize("service", ["ecs", "dynamodb", "sts", "ec2", "lambda", "events"])
def test_clients_get_an_error_of_the_protocol(emulator: Emulator, service: str) -> None:
    calls: dict[str, Any] = {
        "ecs": lambda client: client.list_clusters(),
        "dynamodb": lambda client: client.list_tables(),
        "sts": lambda client: client.get_caller_identity(),
        "ec2": lambda client: client.describe_instances(),
        "lambda": lambda client: client.list_functions(MaxItems=1),
        "events": lambda client: client.list_rules(),
    }
    own = emulated.client(emulator, service)
    calls[service](own)
    own.close()
    for keys, codes in (
        ({"aws_access_key_id": "test"}, {"UnrecognizedClientException", "InvalidClientTokenId"}),
        ({"aws_secret_access_key": "test"}, {"InvalidSignatureException", "SignatureDoesNotMatch"}),
    ):
        foreign = emulated.client(emulator, service, **keys)
        with pytest.raises(ClientError) as error:
            calls[service](foreign)
        assert emulated.code(error) in codes
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        foreign.close()


def test_each_emulator_has_other_credentials(emulator: Emulator) -> None:
    other = Emulator()
    assert other.credentials != emulator.credentials
    assert other.credentials.secret_access_key not in repr(other.credentials)


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", CONTAINERS_NAME])
def test_programs_may_use_every_loopback_name_and_the_given_names(emulator: Emulator, name: str) -> None:
    """This test runs last, because it creates the cluster."""
    response = send(emulator, signed(emulator, f"{name}:{emulator.port}"))
    assert response.status_code == 200
    assert not [header for header in response.headers if header.startswith("access-control-")]
    assert [arn.rpartition("/")[2] for arn in clusters(emulator)] == ["evil"]
    ecs = emulated.client(emulator, "ecs")
    ecs.delete_cluster(cluster="evil")
    ecs.close()
    emulator.calls.clear()
