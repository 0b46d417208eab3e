"""The check that the functions find everything that they import in the layer."""

import platform
import subprocess
import sys
from pathlib import Path

from builder.botocore_data import OPERATIONS
from builder.errors import BuildError
from builder.packages import PLATFORMS

ENVIRONMENT = {
    "ACCESS_TABLE": "access",
    "ALLOWED_ORIGIN": "",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_SECRET_ACCESS_KEY": "none",
    "CLUSTER_NAMES": "cluster",
    "CONSOLE_URL": "",
    "CONTAINERS_TABLE": "containers",
    "DEAD_LETTERS_ARN": "arn:aws:sqs:us-east-1:123456789012:letters",
    "EVENT_BUS": "default",
    "FARGATE_STARTS_PER_SECOND": "1",
    "HISTORY_RETENTION_DAYS": "0",
    "HOST_COMMAND_DOCUMENT": "document",
    "IDEMPOTENCY_TABLE": "idempotency",
    "JWKS_URL": "",
    "METRICS_ENABLED": "false",
    "OPENAPI_URL": "",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "POWERTOOLS_METRICS_NAMESPACE": "Longshore",
    "POWERTOOLS_SERVICE_NAME": "longshore",
    "REFERENCE_URL": "",
    "SCHEDULE_CACHE_TABLE": "schedules",
    "SCHEDULE_FUNCTION_ARN": "arn:aws:lambda:us-east-1:123456789012:function:run",
    "SCHEDULE_GROUP": "group",
    "SCHEDULE_ROLE_ARN": "arn:aws:iam::123456789012:role/run",
    "SERVE_CONSOLE": "true",
    "SIGN_IN_AUDIENCE_PARAMETER": "none",
    "SIGN_IN_CLIENT_ID": "",
    "SIGN_IN_SCOPES": "openid",
    "STACK_ARN": "arn:aws:cloudformation:us-east-1:123456789012:stack/longshore/id",
    "STATUS_LOGS_TABLE": "status_logs",
    "TASK_ACTIONS_PER_SECOND": "1",
    "TASK_READS_PER_SECOND": "1",
    "TOKEN_ALGORITHM": "HS256",
    "TOKEN_AUDIENCE": "",
    "TOKEN_CLIENT_IDS": "",
    "TOKEN_ISSUER": "",
    "TOKEN_LEEWAY_SECONDS": "5",
    "TOKEN_LIFETIME_SECONDS": "0",
    "TOKEN_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:token",
    "TOKEN_TYPE": "any",
    "UNDELIVERED_EVENTS": "https://sqs.us-east-1.amazonaws.com/123456789012/undelivered",
    "WAIT_CONCURRENCY": "1",
    "WAIT_SECONDS": "1",
}
"""The environment variables that handlers read when they are imported."""

_GLIBC = (2, 34)  # Amazon Linux 2023

_PROGRAM = """
import importlib, runpy, sys

root, services, *names = sys.argv[1:]
sys.path.insert(0, root)
for name in names:
    try:
        runpy.run_path(name) if name.endswith(".py") else importlib.import_module(name)
    except BaseException as error:
        sys.exit(f"{name} cannot be imported from the layer: {type(error).__name__}: {error}")
import botocore.session
for service in services.split(","):
    try:
        botocore.session.get_session().create_client(service)
    except BaseException as error:
        sys.exit(f"the client of {service} cannot be created from the layer: {type(error).__name__}: {error}")
"""


def can_import(architecture: str) -> bool:
    """Return whether this machine can load the layer's extension modules."""
    libc, version = platform.libc_ver()
    glibc = tuple(map(int, version.split(".")[:2])) if libc == "glibc" else (0,)
    return sys.platform == "linux" and platform.machine() == PLATFORMS[architecture] and glibc >= _GLIBC


def check_imports(root: Path, functions: Path | None) -> None:
    """Import every module of the library and every handler in a process that finds no packages outside the layer.

    It also creates a client of each AWS service, because botocore imports some modules only then.

    Args:
        root: The layer's `python` folder.
        functions: The folder with the functions' folders, or None to import the library's modules only.

    Raises:
        BuildError: An import failed, or `functions` contains no handler.
    """
    sources = sorted((root / "longshore").rglob("*.py"))
    names = [".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for path in sources]
    if functions is not None:
        handlers = sorted(map(str, functions.glob("*/app.py")))
        if not handlers:
            raise BuildError(f"{functions} contains no */app.py")
        names += handlers
    command = [sys.executable, "-S", "-E", "-B", "-P", "-c", _PROGRAM, str(root), ",".join(OPERATIONS), *names]
    ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    if ran.returncode:
        raise BuildError(
            f"{ran.stderr.strip()}\nFor a missing module look at UNUSED in builder/packages.py, for a missing "
            "environment variable at ENVIRONMENT in builder/imports.py"
        )
