"""The process environment of the local stack, which cannot reach a real AWS account."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import boto3

from local.naming import REGION

if TYPE_CHECKING:
    from local.emulator import Credentials

_NO_ACCOUNT = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class Environment:
    """A context manager that isolates this process from AWS and restores the environment on exit."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = {
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        }
        self._saved: dict[str, str] = {}
        self._session: boto3.session.Session | None = None

    def __enter__(self) -> Self:
        self._saved = dict(os.environ)
        # boto3's default session may already hold real credentials.
        self._session, boto3.DEFAULT_SESSION = boto3.DEFAULT_SESSION, None
        # A profile, role or endpoint in the environment would lead to a real account.
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(_NO_ACCOUNT | self._credentials, AWS_DEFAULT_REGION=REGION, AWS_REGION=REGION)
        # Metrics are lines of JSON on stdout that only CloudWatch reads.
        if not os.environ.get("LONGSHORE_METRICS"):
            os.environ["POWERTOOLS_METRICS_DISABLED"] = "true"
        # Requests from this process to itself must not go through a proxy.
        for name in ("NO_PROXY", "no_proxy"):
            others = [self._saved[name]] if self._saved.get(name) else []
            os.environ[name] = ",".join(["127.0.0.1", "localhost", *others])
        return self

    def point_at(self, url: str, dynamodb_url: str) -> None:
        """Set the endpoints of the emulated AWS."""
        os.environ.update(AWS_ENDPOINT_URL=url, AWS_ENDPOINT_URL_DYNAMODB=dynamodb_url)

    def __exit__(self, *_: object) -> None:
        boto3.DEFAULT_SESSION = self._session
        os.environ.clear()
        os.environ.update(self._saved)
