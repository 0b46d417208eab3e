"""SAM CLI for the tests: it builds the template, and runs its functions in Lambda containers on an emulated AWS."""

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
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from local import template
from local.runtime import FunctionError
from local.stack import LocalStack

SAM = template.ROOT / ".venv" / "sam" / "bin" / "sam"
IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"

# Where the AWS SDK finds the emulated AWS. On AWS itself nothing sets them, so the template does not declare them.
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB")

# Seconds after which something is taken to hang.
_PATIENCE = 300


def lacks_sam() -> str | None:
    """Why SAM CLI cannot be used here, if it cannot."""
    if not SAM.is_file():
        return f"SAM CLI is not in {SAM.relative_to(template.ROOT)}: `make e2e` puts it there, and needs Python 3.13"
    return None


def lacks_containers() -> str | None:
    """Why no Lambda container can be run here, if none can."""
    if shutil.which("docker") is None:
        return "Docker is missing: Lambda containers run on it"
    if subprocess.run(["docker", "version"], capture_output=True).returncode:
        return "Docker does not answer: Lambda containers run on it"
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode:
        return f"Docker has no {IMAGE}: `make e2e` fetches or builds it"
    return None


def sam(
    *arguments: str | Path, cwd: Path = template.ROOT, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of SAM CLI to its end."""
    command = [str(SAM), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=_environment(), input=stdin, capture_output=True, text=True, timeout=_PATIENCE
    )


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """`sam build` into a folder."""
    return sam("build", "--no-cached", "--build-dir", folder)


class LambdaStack(LocalStack):
    """A local stack whose functions run as Lambda runs them: from `sam build`'s folder, in a container each.

    Neither ECS nor a schedule invokes anything. A context manager, as its base is.
    """

    def __init__(self, built: Path, **options: Any) -> None:
        emulator = {**options.pop("emulator_options", {}), "host": "0.0.0.0"}
        super().__init__(port=0, events=False, emulator_options=emulator, **options)
        self.built = built

    def invoke(self, function: str, event: Any) -> Any:
        """`sam local invoke`. FunctionError."""
        command = ["local", "invoke", function, "--event", "-", *self.options()]
        ran = sam(*command, cwd=self.built, stdin=json.dumps(event))
        if ran.returncode or not ran.stdout.strip():
            raise RuntimeError(f"sam {' '.join(command)}:\n{ran.stderr}")
        answer = json.loads(ran.stdout.strip().splitlines()[-1])
        if isinstance(answer, dict) and "errorType" in answer:
            raise FunctionError(function, answer["errorType"], answer["errorMessage"])
        return answer

    @contextmanager
    def serve(self, log: Path) -> Iterator[str]:
        """`sam local start-api` until the end of the block; its URL. A function keeps its container once it has one.

        Not EAGER: that makes all of them at once, in threads, of which the first few make a registry of containers
        each. Only one of these is kept, and the containers in the others are never ended.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [str(SAM), "local", "start-api", "--port", str(port), "--warm-containers", "LAZY", *self.options()]
        with log.open("w") as output:
            process = subprocess.Popen(
                command, cwd=self.built, env=_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            deadline = time.monotonic() + _PATIENCE
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"sam local start-api does not serve:\n{log.read_text()}")
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
        """What every `sam local` command needs: the functions' environment, and no registry."""
        return [
            *("--template", str(self._emulated_template())),
            *("--env-vars", str(self._env_vars())),
            *("--layer-cache-basedir", str(self.built / "layers")),
            "--skip-pull-image",
        ]

    def _emulated_template(self) -> Path:
        """The built template with the endpoints as variables: `--env-vars` sets only what the template declares."""
        document = yaml_parse((self.built / "template.yaml").read_text(encoding="utf-8"))
        document["Globals"]["Function"]["Environment"]["Variables"] |= dict.fromkeys(_ENDPOINTS, "")
        # In the same folder, because the paths in it are relative.
        path = self.built / "emulated.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def _env_vars(self) -> Path:
        assert self.template is not None
        # What this process reaches as itself, a container reaches as its host.
        endpoints = {name: os.environ[name].replace("127.0.0.1", _host_address()) for name in _ENDPOINTS}
        variables: Mapping[str, Mapping[str, str]] = {
            name: {**function.environment, **endpoints} for name, function in self.template.functions.items()
        }
        path = self.built / "env.json"
        path.write_text(json.dumps(variables), encoding="utf-8")
        return path


def remove_containers(built: Path) -> list[str]:
    """Remove the containers that have code of this folder in them, also those that have ended; their ids."""
    found: list[str] = []
    for function in built.iterdir():
        found += _docker("ps", "--all", "--quiet", "--filter", f"volume={function}").split()
    if found:
        _docker("rm", "--force", *found)
    return found


@functools.cache
def _host_address() -> str:
    """This machine's address for containers."""
    if sys.platform != "linux" or "Docker Desktop" in _docker("info", "--format", "{{.OperatingSystem}}"):
        # The engine is in a virtual machine, and its bridge does not lead here.
        return "host.docker.internal"
    return _docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}").strip()


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def _environment() -> dict[str, str]:
    """This process's environment without anything of AWS's own, and SAM CLI's Python in front: it builds the layer."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    return ours | {
        "PATH": f"{SAM.parent}{os.pathsep}{os.environ['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": template.REGION,
    }


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
