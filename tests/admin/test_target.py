"""Selection of the stack: a deployed stack by name, or the local stack."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from api_client import Api

from admin import registry, target
from admin.cli import main
from admin.errors import AdminError
from local.emulator import Emulator
from local.seed import PROJECT, container_id
from local.stack import LocalStack
from local.stack_file import announced

ROOT = Path(__file__).resolve().parents[2]


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run a command that prints no result, and return its exit code and its messages."""
    capsys.readouterr()
    code = main(arguments)
    out, err = capsys.readouterr()
    assert out == ""
    return code, err


@pytest.fixture(scope="module")
def deployed(stack: LocalStack) -> str:
    """Create a CloudFormation stack with the outputs of the local stack in the emulated AWS, and return its name."""
    assert stack.template is not None
    outputs = {name: {"Value": value} for name, value in stack.template.outputs.items()}
    for name, declared in (("longshore-prod", outputs), ("another", {})):
        body = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Outputs": declared}
        stack.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(body))
    return "longshore-prod"


# --- A deployed stack -------------------------------------------------------------------------------------------------


def test_a_deployed_stack_is_found_by_its_outputs(
    stack: LocalStack, deployed: str, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message = ran(capsys, "--stack", deployed, "--region", "us-east-1", "grant", "quinn", PROJECT, "viewer")
    assert (code, message) == (0, f"quinn is viewer of {PROJECT}.\n")
    assert api.get(container_id(11), "quinn").status_code == 200


def test_rules_are_prefixed_with_the_stack_name(
    stack: LocalStack, deployed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(capsys, "--stack", deployed, "schedule", "add", "late", "--rate", "1 hour", "--all")[0] == 0
    rules = stack.client("events").list_rules(NamePrefix=deployed)["Rules"]
    assert [rule["Name"] for rule in rules] == ["longshore-prod.late"]
    assert ran(capsys, "--stack", deployed, "schedule", "remove", "late")[0] == 0


def gone(*_: object) -> None:
    raise AdminError("There is no such task definition.")


def test_a_task_definition_with_roles_that_the_stack_may_not_pass(
    stack: LocalStack, deployed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ECS would reject every start. Only a deployed stack restricts roles."""
    assert stack.template is not None
    role = "arn:aws:iam::123456789012:role/{}"
    pairs = [("service/web", "execution"), ("service/web", "other"), ("web", "execution"), ("worker-7", None)]
    for number, (task, execution) in enumerate(pairs):
        stack.client("ecs").register_task_definition(
            family=f"roles-{number}",
            taskRoleArn=role.format(task) if "/" in task else task,
            **({"executionRoleArn": role.format(execution)} if execution else {}),
            containerDefinitions=[{"name": "app", "image": "x", "memory": 128}],
        )
    body = {
        # The emulated CloudFormation returns a list parameter as a Python list. AWS returns it as text.
        "Parameters": {"TaskRoleArns": {"Type": "String"}},
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {name: {"Value": value} for name, value in stack.template.outputs.items()},
    }
    allowed = [role.format(name) for name in ("service/web", "execution", "worker-*")]
    for name, roles in (("longshore-roles", ", ".join(allowed)), ("longshore-none", "")):
        stack.client("cloudformation").create_stack(
            StackName=name,
            TemplateBody=json.dumps(body),
            Parameters=[{"ParameterKey": "TaskRoleArns", "ParameterValue": roles}],
        )

    def register(name: str, number: int) -> tuple[int, str]:
        what = ("--project", PROJECT, "--name", "roles", "--task-definition", f"roles-{number}")
        code = main(["--stack", name, "--region", "us-east-1", "register", *what])
        return code, capsys.readouterr().err

    assert [register("longshore-roles", number)[0] for number in range(4)] == [0, 1, 0, 0]
    assert register("longshore-roles", 1)[1] == (
        "error: The task definition roles-1 has the role arn:aws:iam::123456789012:role/other, which the stack"
        " longshore-roles may not pass: add it to the stack's parameter TaskRoleArns and deploy.\n"
    )
    assert [register("longshore-none", number)[0] for number in range(4)] == [1, 1, 1, 1]
    assert register(deployed, 1)[0] == 0

    def adopt(name: str, number: int) -> str:
        which = ("--project", PROJECT, "--family", f"roles-{number}")
        assert main(["--stack", name, "--region", "us-east-1", "adopt", *which]) == 0
        return capsys.readouterr().out

    for number in (0, 1):
        stack.emulator.ecs.adopt_running("default", f"roles-{number}")
    assert "cannot be started again" not in adopt("longshore-roles", 0)
    note = "cannot be started again: the stack may not pass the role arn:aws:iam::123456789012:role/other"
    assert f"{note} (parameter TaskRoleArns)" in adopt("longshore-roles", 1)
    assert "cannot be started again" not in adopt(deployed, 1)
    # A running task may have a deleted task definition.
    with monkeypatch.context() as patched:
        patched.setattr(registry, "_task_definition", gone)
        assert adopt("longshore-roles", 1).count("adopt ") == 1


@pytest.mark.usefixtures("deployed", "stack")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--stack", "nowhere"],
            "The stack nowhere does not exist in us-east-1: specify --stack, --region or --profile.",
        ),
        (["--stack", "another"], "The stack another is not a Longshore stack, or its deployment is not complete."),
        (["--profile", "nobody"], "The config profile (nobody) could not be found."),
    ],
)
def test_a_stack_that_does_not_exist(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert ran(capsys, *arguments, "ban", "quinn") == (1, f"error: {message}\n")


def test_a_stack_of_an_older_version(stack: LocalStack) -> None:
    old = target.Target("old", {"ContainersTableName": "c"}, lambda *_: None)
    with pytest.raises(AdminError, match="The stack old has no output ClusterName: deploy this version"):
        old.checked_cluster(None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("ExpiredToken", "Your AWS credentials have expired: sign in again."),
        ("InvalidClientTokenId", "Your AWS credentials are not valid: sign in again, or specify --profile."),
        ("AccessDenied", "Your AWS credentials do not allow DescribeStacks: An injected fault."),
        ("InternalFailure", "DescribeStacks failed: InternalFailure: An injected fault."),
    ],
)
def test_errors_of_cloudformation(
    emulator: Emulator, capsys: pytest.CaptureFixture[str], error: str, message: str
) -> None:
    emulator.faults.add("cloudformation", "DescribeStacks", error, status=400, times=None)
    assert ran(capsys, "ban", "quinn") == (3, f"error: {message}\n")


def test_no_credentials_and_no_region(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert ran(capsys, "ban", "quinn") == (1, "error: No AWS credentials: sign in, or specify --profile.\n")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name)
    assert ran(capsys, "ban", "quinn") == (1, "error: No AWS region: specify --region, or set AWS_REGION.\n")


def test_no_response(stack: LocalStack, emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    emulator.faults.add("cloudformation", "DescribeStacks", "drop", times=None)
    code, message = ran(capsys, "ban", "quinn")
    assert (code, message.count("\n")) == (3, 1)
    assert message.startswith("error: AWS did not respond: ")


# --- The local stack --------------------------------------------------------------------------------------------------


def test_no_local_stack_is_running(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> None:
    refused = (1, "error: No local stack is running: start it with `make up`.\n")
    assert ran(capsys, "--local", "ban", "quinn") == refused
    with announced(stack) as file:
        content = file.read_text()
        file.write_text(content.replace(stack.emulator.url, "http://127.0.0.1:1"))
        # A killed stack leaves its file behind.
        assert ran(capsys, "--local", "ban", "quinn") == refused
        for broken in ("{", "[]", "{}"):
            file.write_text(broken)
            assert ran(capsys, "--local", "ban", "quinn") == refused
        file.write_text(content)
    assert not file.exists()


def test_a_port_selects_one_of_several_local_stacks(
    stack: LocalStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with announced(stack) as file:
        assert file.stat().st_mode & 0o777 == 0o600
        content = json.loads(file.read_text())
        other = file.with_name("other.json")
        # The emulator's port stands for the port of a second stack.
        other.write_text(json.dumps(content | {"url": stack.emulator.url}))
        code, message = ran(capsys, "--local", "ban", "quinn")
        assert (code, message.partition(" (ports ")[0]) == (1, "error: Several local stacks are running")
        assert message.endswith("): select one with PORT.\n")
        monkeypatch.setenv("PORT", file.stem)
        assert ran(capsys, "--local", "ban", "quinn") == (0, "quinn is banned.\n")
        monkeypatch.setenv("PORT", "abc")
        message = 'error: PORT must be the port of a local stack, not "abc".\n'
        assert ran(capsys, "--local", "ban", "quinn") == (1, message)
        monkeypatch.setenv("PORT", "1")
        message = "error: No local stack is running on port 1: start it with `make up`.\n"
        assert ran(capsys, "--local", "ban", "quinn") == (1, message)
        other.unlink()


def test_the_local_stack_takes_no_profile(capsys: pytest.CaptureFixture[str]) -> None:
    code, message = ran(capsys, "--local", "--profile", "prod", "ban", "quinn")
    assert code == 2
    assert "--local cannot be combined with --profile or --region" in message


def test_clients_of_the_local_stack_ignore_the_environment(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, api: Api
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-west-1\nendpoint_url = https://real.example.com\n")
    keys = {"AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_SECRET_ACCESS_KEY": "real", "AWS_SESSION_TOKEN": "real"}
    with monkeypatch.context() as patched:
        for name, value in {
            **keys,
            "AWS_CONFIG_FILE": str(config),
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": "https://real.example.com",
            "AWS_ENDPOINT_URL_DYNAMODB": "https://real.example.com",
            "AWS_USE_FIPS_ENDPOINT": "true",
            "HTTP_PROXY": "http://127.0.0.1:1",
            "http_proxy": "http://127.0.0.1:1",
            "NO_PROXY": "",
            "no_proxy": "",
        }.items():
            patched.setenv(name, value)
        with announced(stack):
            found = target.local()
            clients: tuple[Any, ...] = (found.dynamodb(), found.ecs(), found.ec2(), found.events(), found.functions())
            for client in clients:
                assert re.fullmatch(r"http://127\.0\.0\.1:\d+", client.meta.endpoint_url)
                assert client.meta.region_name == "us-east-1"
                credentials = client._request_signer._credentials
                assert (credentials.access_key, credentials.token) == (stack.credentials.access_key_id, None)
            assert main(["--local", "grant", "rita", PROJECT, "viewer"]) == 0
            assert found.ecs().list_clusters()["clusterArns"]
    assert api.get(container_id(11), "rita").status_code == 200


def test_a_stack_does_not_delete_the_file_of_a_later_stack(stack: LocalStack) -> None:
    later = json.dumps({"url": stack.url, "access_key_id": "another"})
    with announced(stack) as file:
        file.write_text(later)
    assert file.read_text() == later
    file.unlink()


def test_make_up_announces_the_stack_while_it_runs(tmp_path: Path) -> None:
    """Runs the stack and the commands as separate programs, in an environment without AWS settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))} | {
        "LONGSHORE_STACKS": str(tmp_path),
    }

    def admin(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "admin", "--local", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert admin("ban", "quinn").stderr == "error: No local stack is running: start it with `make up`.\n"
    serving = subprocess.Popen(
        [sys.executable, "-m", "local", "serve"],
        cwd=ROOT,
        env=environment | {"PORT": "0", "PYTHONPATH": f"{ROOT / 'layers/common'}{os.pathsep}{ROOT}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 90
        while not list(tmp_path.glob("*.json")):
            assert serving.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        registered = admin("register", "--project", PROJECT, "--name", "x", "--task-definition", "web")
        assert (registered.returncode, registered.stderr.partition(":")[0]) == (0, "Registered x")
        assert registered.stdout.strip() != ""
        assert admin("doctor", registered.stdout.strip()).stderr == "1 checked, 0 with faults.\n"
    finally:
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(30) == 0
    assert list(tmp_path.iterdir()) == []
