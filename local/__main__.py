"""The command line of the local stack: `python -m local serve`, `token` and `env`."""

from __future__ import annotations

import argparse
import os
import select
import shlex
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from local import logs, stack_file, tokens

USAGE_ERROR = 2

# Ids of the demo project.
PROJECT = "507f1f77bcf86cd799439033"
CONTAINER = "507f1f77bcf86cd7994390{:02d}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local", description="The local stack.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "serve",
        help="serve the API (environment variables: PORT, HOST, DYNAMODB, DOCKER, SIGN_IN, WEBHOOK, PARAMETERS, "
        f"{tokens.KEY_VARIABLE})",
    )
    token = commands.add_parser("token", help="print a token for the API of the running stack")
    token.add_argument("--user", default="operator", help="the user id (default: operator)")
    token.add_argument("--ttl", type=int, default=86400, help="seconds until it expires (default: a day)")
    commands.add_parser("env", help="print shell commands that direct AWS tools to the running stack")
    options = parser.parse_args(arguments)
    if options.command == "serve":
        return serve()
    try:
        stack = stack_file.find(os.environ.get("PORT"))
    except stack_file.StackNotFoundError as error:
        return _fail(str(error))
    if options.command == "token" and stack["parameters"]["TokenAlgorithm"] != "HS256":
        return _fail(
            f"the stack accepts tokens of {stack['parameters']['TokenIssuer']} only: sign in with longshore login"
        )
    if options.command == "token":
        print(tokens.token(options.user, options.ttl, signing_key=stack["token_key"]))
    else:
        print(_exports(stack))
    return 0


def serve() -> int:
    """Serve until SIGINT or SIGTERM.

    Returns:
        0, or 2 for a configuration error, which is printed to stderr.
    """
    end = stop_signal()
    logs.configure()
    try:
        parameters = _parameters(os.environ.get("PARAMETERS", ""))
        port = _port(os.environ.get("PORT") or "3000")
        webhook = _webhook(os.environ.get("WEBHOOK", ""))
        tokens.key()
    except ValueError as error:
        return _fail(str(error))

    # These imports take a second. The signal handlers are already installed, so that Ctrl-C works during the import.
    from botocore.exceptions import EndpointConnectionError

    from local.dynamodb_local import DynamoDbLocalUnavailableError
    from local.emulator.docker import DockerUnavailableError
    from local.identity import ProviderUnavailableError, provider
    from local.provision import ProvisionError
    from local.runtime import RuntimeConfigurationError
    from local.server import ListenError
    from local.stack import LocalStack
    from local.template import TemplateError

    docker = bool(os.environ.get("DOCKER"))
    cleanup = ExitStack()
    identity = None
    try:
        if os.environ.get("SIGN_IN"):
            identity = cleanup.enter_context(provider())
        stack = LocalStack(
            port=port,
            host=os.environ.get("HOST") or "127.0.0.1",
            dynamodb=os.environ.get("DYNAMODB") or "moto",
            parameters=lambda url: (identity.parameters(url) if identity else {}) | parameters,
            # Dozens of Docker containers would take minutes to start.
            fleet=not docker,
            services=True,
            docker=docker,
            webhook=webhook,
        )
    except (ProviderUnavailableError, ValueError) as error:
        cleanup.close()
        return _fail(str(error))
    try:
        stack.start()
        if identity is not None:
            identity.allow(stack.url)
    except (
        DockerUnavailableError,
        DynamoDbLocalUnavailableError,
        EndpointConnectionError,
        ListenError,
        ProvisionError,
        RuntimeConfigurationError,
        TemplateError,
    ) as error:
        cleanup.close()
        return _fail(str(error))
    try:
        with stack_file.announced(stack):
            if not select.select([end], [], [], 0)[0]:
                if stack.parameters["TokenAlgorithm"] == "HS256":
                    print(_welcome(stack.url, stack.database, tokens.token("operator")), flush=True)
                else:
                    print(_welcome_to_sign_in(stack.url, str(stack.parameters["TokenIssuer"])), flush=True)
            end.recv(1)
    finally:
        stack.stop()
        cleanup.close()
    return 0


def stop_signal() -> socket.socket:
    """Return a socket that becomes readable when SIGINT or SIGTERM arrives.

    Python runs signal handlers in the main thread between two instructions. A signal that arrives just before the main
    thread blocks, or in another thread, would not wake it. The signal itself writes to a wakeup descriptor, in
    whichever thread it arrives.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Only signals with a handler are written to the descriptor.
        signal.signal(number, lambda *_: None)
    return receiver


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError(f'PORT must be a number from 0 to 65535, not "{text}"')
    return int(text)


def _webhook(text: str) -> str | None:
    if text and not text.startswith(("http://", "https://")):
        raise ValueError(f'WEBHOOK must be a URL, not "{text}"')
    return text or None


def _parameters(text: str) -> dict[str, str]:
    """Parse parameter values in the form `Name=value Name="two words"`. Raise ValueError if a part has another form."""
    pairs = [part.partition("=") for part in shlex.split(text)]
    if not all(separator for _, separator, _ in pairs):
        raise ValueError("PARAMETERS must have the form Name=value Name=value")
    return {name: value for name, _, value in pairs}


def _exports(stack: dict[str, Any]) -> str:
    """Return shell commands that set the endpoints and credentials of a stack."""
    variables = {
        "AWS_ENDPOINT_URL": stack["endpoint_url"],
        "AWS_ENDPOINT_URL_DYNAMODB": stack["dynamodb_url"],
        "AWS_ACCESS_KEY_ID": stack["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": stack["secret_access_key"],
        "AWS_REGION": stack["region"],
        "AWS_DEFAULT_REGION": stack["region"],
    }
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*exports, "unset AWS_PROFILE AWS_SESSION_TOKEN"])


def _fail(message: str) -> int:
    print(f"local: {message}", file=sys.stderr)
    return USAGE_ERROR


def _welcome(url: str, database: str, token: str) -> str:
    """Return the message with the URLs, a token and example calls."""
    base = f"{url}/api/v1/containers"
    stopped, running, paused, failed, expired = (CONTAINER.format(number) for number in (11, 12, 13, 14, 15))
    long_history = CONTAINER.format(17)

    def call(comment: str, target: str, method: str = "") -> str:
        return f"  # {comment}\n  curl -s {method}-H \"$AUTH\" '{base}/{target}'"

    post = "-X POST "
    calls = [
        call("a stopped container", stopped),
        call("start it", f"{stopped}/start", post),
        call("its history, newest first", f"{stopped}/status-logs"),
        call("pause a running container", f"{running}/pause", post),
        call("a conflict: the container is already paused", f"{paused}/pause", post),
        call("restart a failed container", f"{failed}/restart", post),
        call("403: an expired container allows no operation", f"{expired}/start", post),
        call("a deep page of 1,000 rows", f"{long_history}/status-logs?page=40&limit=25&sort_by=to_status"),
    ]
    return "\n".join(
        [
            f"Longshore serves {url}/api/v1",
            f"Reference: {url}/docs",
            f"Database: {database}",
            f"Console: {url}/console (paste the token below)",
            f"Demo project {PROJECT}. The token below is for the user operator and expires in a day.",
            "",
            f"  AUTH='Authorization: Bearer {token}'",
            "",
            *calls,
            "",
            "Press Ctrl-C to stop.",
        ]
    )


def _welcome_to_sign_in(url: str, issuer: str) -> str:
    """Return the message with the URLs for a stack whose users sign in at a provider."""
    return "\n".join(
        [
            f"Longshore serves {url}/api/v1",
            f"Reference: {url}/docs",
            f"Console: {url}/console",
            f"Users sign in at {issuer}. The demo data contains the user operator.",
            "The provider of SIGN_IN=1 accepts every password.",
            "",
            f"  longshore login --url {url}",
            "",
            "Press Ctrl-C to stop.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
