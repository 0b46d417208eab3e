"""Wires the authorizer: the other functions need no PyJWT, and with a JWKS URL this one needs no botocore."""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from longshore.settings import TokenSettings
from longshore.tokens import Verifier

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient


@cache
def verifier() -> Verifier:
    settings = TokenSettings.of(os.environ)
    return Verifier(settings, lambda: _secret(settings.secret_arn))


def _secret(arn: str) -> str:
    import botocore.session
    from botocore.config import Config

    config = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3})
    session: Any = botocore.session.get_session()
    client: SecretsManagerClient = session.create_client("secretsmanager", config=config)
    return client.get_secret_value(SecretId=arn)["SecretString"]
