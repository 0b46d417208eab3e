"""SAM CLI for the tests: it builds the template, and runs the functions in Lambda containers with an emulated AWS."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import boto3
from botocore.config import Config
from samtranslator.yaml_helper import yaml_parse

from local import template
from local.runtime import FunctionError
from local.stack import LocalStack

SAM = template.ROOT / ".venv" / "sam" / "bin" / "sam"
IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"

# The endpoints of the emulated AWS for the AWS SDK. They are not set on AWS, so the template does not declare them.
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB")

# Timeout of SAM CLI in seconds.
_PATIENCE = 300


def lacks_sam() -> str | None:
    """Return why SAM CLI is not available, or None."""
    if not SAM.is_file():
        return f"SAM CLI is not in {SAM.relative_to(template.ROOT)}: `make e2e` installs it, and needs Python 3.13"
    return None


def lacks_containers() -> str | None:
    """Return why Lambda containers are not available, or None."""
    if shutil.which("docker") is None:
        return "Docker is missing: Lambda containers run on it"
    if subprocess.run(["docker", "version"], capture_output=True).returncode:
        return "Docker does not respond: Lambda containers run on it"
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode:
        return f"Docker has no {IMAGE}: `make e2e` fetches or builds it"
    return None


def sam(
    *arguments: str | Path, cwd: Path = template.ROOT, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of SAM CLI, and return the completed process."""
    command = [str(SAM), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=_environment(), input=stdin, capture_output=True, text=True, timeout=_PATIENCE
    )


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `sam build` with this output folder."""
    return sam("build", "--no-cached", "--build-dir", folder)


class LambdaStack(LocalStack):
    """A local stack whose functions run in one Lambda container each, with the output of `sam build`.

    Neither events nor schedules invoke functions.
    """

    def __init__(self, built: Path, **options: Any) -> None:
        emulator = {**options.pop("emulator_options", {}), "host": "0.0.0.0", "names": [_host_address()]}
        super().__init__(port=0, events=False, emulator_options=emulator, **options)
        self.built = built
        self._lambda: Any = None  # a client of `sam local start-lambda`, if it runs

    def invoke(self, function: str, event: Any) -> Any:
        """Invoke a function with `sam local start-lambda` if it runs, otherwise with `sam local invoke`.

        Raises:
            FunctionError: The function raised an error.
            RuntimeError: SAM CLI failed.
        """
        if self._lambda is None:
            answer = self._invoke_once(function, event)
        else:
            answer = json.load(self._lambda.invoke(FunctionName=function, Payload=json.dumps(event))["Payload"])
        if isinstance(answer, dict) and "errorType" in answer:
            raise FunctionError(function, answer["errorType"], answer["errorMessage"])
        return answer

    def _invoke_once(self, function: str, event: Any) -> Any:
        command = ["local", "invoke", function, "--event", "-", *self.options()]
        ran = sam(*command, cwd=self.built, stdin=json.dumps(event))
        if ran.returncode or not ran.stdout.strip():
            raise RuntimeError(f"sam {' '.join(command)}:\n{ran.stderr}")
        return json.loads(ran.stdout.strip().splitlines()[-1])

    @contextmanager
    def serve_functions(self, log: Path) -> Iterator[None]:
        """Run `sam local start-lambda` until the end of the block. `invoke` then uses it."""
        with self.serve(log, "start-lambda") as url:
            # A cold start on a busy machine takes many seconds.
            patient = Config(read_timeout=_PATIENCE, retries={"total_max_attempts": 1})
            self._lambda = boto3.client("lambda", endpoint_url=url, region_name=template.REGION, config=patient)
            try:
                yield
            finally:
                self._lambda.close()
                self._lambda = None

    @contextmanager
    def serve(self, log: Path, command: Literal["start-api", "start-lambda"] = "start-api") -> Iterator[str]:
        """Run this `sam local` command until the end of the block. Yields its URL. Each function keeps its container.

        With EAGER warm containers, SAM CLI creates containers in concurrent threads, and several threads may each
        create a registry of containers. SAM CLI keeps only one registry, and never stops the containers in the others.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        arguments = [str(SAM), "local", command, "--port", str(port), "--warm-containers", "LAZY", *self.options()]
        with log.open("w") as output:
            process = subprocess.Popen(
                arguments, cwd=self.built, env=_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            deadline = time.monotonic() + _PATIENCE
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"sam local {command} does not serve:\n{log.read_text()}")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def options(self) -> list[str]:
        """Return the options of every `sam local` command: the functions' environment, and no image pull."""
        return [
            *("--template", str(self._emulated_template())),
            *("--env-vars", str(self._env_vars())),
            *("--layer-cache-basedir", str(self.built / "layers")),
            "--skip-pull-image",
        ]

    def _emulated_template(self) -> Path:
        """Write the built template with the endpoints as variables: `--env-vars` sets only declared variables."""
        document = yaml_parse((self.built / "template.yaml").read_text(encoding="utf-8"))
        document["Globals"]["Function"]["Environment"]["Variables"] |= dict.fromkeys(_ENDPOINTS, "")
        # The paths in the template are relative to its folder.
        path = self.built / "emulated.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def _env_vars(self) -> Path:
        assert self.template is not None
        # The loopback address of this process is the host's address in a container.
        endpoints = {name: os.environ[name].replace("127.0.0.1", _host_address()) for name in _ENDPOINTS}
        variables: Mapping[str, Mapping[str, str]] = {
            name: {**function.environment, **endpoints} for name, function in self.template.functions.items()
        }
        path = self.built / "env.json"
        path.write_text(json.dumps(variables), encoding="utf-8")
        return path


def remove_containers(built: Path) -> list[str]:
    """Remove the containers, running or not, that mount code of this folder. Returns their ids."""
    found: list[str] = []
    for function in built.iterdir():
        found += _docker("ps", "--all", "--quiet", "--filter", f"volume={function}").split()
    if found:
        _docker("rm", "--force", *found)
    return found


@functools.cache
def _host_address() -> str:
    """Return the host's address as containers reach it."""
    if sys.platform != "linux" or "Docker Desktop" in _docker("info", "--format", "{{.OperatingSystem}}"):
        # Docker runs in a virtual machine, whose bridge does not lead to this host.
        return "host.docker.internal"
    return _docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}").strip()


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def _environment() -> dict[str, str]:
    """Return the environment without AWS variables, and with the Python of SAM CLI, which builds the layer, first."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    return ours | {
        "PATH": f"{SAM.parent}{os.pathsep}{os.environ['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
        # While a stack runs, these are its credentials. SAM CLI passes them to the functions.
        "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": template.REGION,
    }


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
