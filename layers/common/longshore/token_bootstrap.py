"""Wires the authorizer: the other functions need no PyJWT, and with a JWKS URL this one needs no boto3."""

import os
from functools import cache

from longshore.settings import TokenSettings
from longshore.tokens import Verifier


@cache
def verifier() -> Verifier:
    settings = TokenSettings.of(os.environ)
    return Verifier(settings, lambda: _secret(settings.secret_arn))


def _secret(arn: str) -> str:
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3})
    return str(boto3.client("secretsmanager", config=config).get_secret_value(SecretId=arn)["SecretString"])
