"""Creates the token verifier. Only the authorizer imports PyJWT, and with a JWKS URL it does not import botocore."""

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from longshore.edge.tokens import TokenSettings, Verifier

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient


@cache
def verifier() -> Verifier:
    settings = TokenSettings.of(os.environ)
    return Verifier(settings, _reader(settings.secret_arn) if settings.secret_arn else _no_secret)


def _reader(arn: str) -> Callable[[], str]:
    """Return a function that reads the secret. The client is created during the initialization."""
    import botocore.session
    from botocore.config import Config

    config = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3})
    session: Any = botocore.session.get_session()
    client: SecretsManagerClient = session.create_client("secretsmanager", config=config)
    return lambda: client.get_secret_value(SecretId=arn)["SecretString"]


def _no_secret() -> str:
    raise RuntimeError("TOKEN_SECRET_ARN is not set")
