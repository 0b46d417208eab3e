"""The fleet of `make up`: its containers satisfy the invariants, and have the statuses and tasks of a real fleet."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from api_client import Api
from conftest import PARAMETERS, QUICK
from invariants import check
from longshore.domain.lifecycle import Status

from admin.cli import main
from local.demo_services import ON_FARGATE, SCALED
from local.fleet import CUSTOMER_PORTAL, DATA_PLATFORM, history, plans
from local.seed import PROJECT, container_id
from local.stack import LocalStack
from local.stack_file import announced


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with LocalStack(port=0, parameters=PARAMETERS, emulator_options=QUICK, fleet=True, services=True) as stack:
        yield stack


def test_every_container(stack: LocalStack, api: Api) -> None:
    shown = [api.get(plan.identity).json()["data"] for plan in plans()]
    assert [container["name"] for container in shown] == [plan.name for plan in plans()]
    assert Counter(container["project_id"] for container in shown) == dict.fromkeys(
        (PROJECT, DATA_PLATFORM, CUSTOMER_PORTAL), 20
    )
    assert {container["status"] for container in shown} == set(Status)
    assert {container["labels"]["env"] for container in shown} == {"prod", "staging", "dev"}
    assert len({len(plan.statuses) for plan in plans()}) > 5
    for plan in plans():
        check(stack, plan.identity)


def test_the_roles_differ_by_project(api: Api) -> None:
    first = {plan.project: plan.identity for plan in plans() if plan.statuses[-1] == "stopped"}
    answers = {project: api.post(identity, "resume").json()["code"] for project, identity in first.items()}
    assert answers == {
        PROJECT: "OPERATION_STATE_CONFLICT",
        DATA_PLATFORM: "OPERATION_STATE_CONFLICT",
        CUSTOMER_PORTAL: "INSUFFICIENT_PERMISSIONS",
    }


def test_the_demo_project_remains(api: Api) -> None:
    assert api.get(container_id(11)).json()["data"]["name"] == "orders"
    assert api.logs(container_id(17)).json()["data"]["pagination"]["total"] == 1000


def test_a_task_can_be_adopted(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> None:
    """The example in docs/administer.md works."""
    with announced(stack):
        assert main(["--local", "adopt", "--project", PROJECT, "--family", "shop", "--yes"]) == 0
    assert capsys.readouterr().out.endswith("1 adopted, 1 skipped, 0 failed\n")


def test_the_services_run(stack: LocalStack) -> None:
    names, cluster = [SCALED, ON_FARGATE], str(stack.parameters["ClusterName"])
    found = stack.client("ecs").describe_services(cluster=cluster, services=names)["services"]
    assert [(service["serviceName"], service["runningCount"]) for service in found] == [(SCALED, 3), (ON_FARGATE, 1)]
    answer = stack.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")
    targets = [(target["ResourceId"], target["MinCapacity"]) for target in answer["ScalableTargets"]]
    assert targets == [(f"service/{cluster}/{SCALED}", 2)]


def test_the_services_are_containers(stack: LocalStack, api: Api) -> None:
    answer = api.call("GET", f"/projects/{PROJECT}/containers", params={"limit": 100}).json()["data"]["containers"]
    shown = {container["name"]: container for container in answer if container["kind"] == "service"}
    counts = {name: (container["running_count"], container["desired_count"]) for name, container in shown.items()}
    assert counts == {SCALED: (3, 3), ON_FARGATE: (1, 1)}
    for container in shown.values():
        assert container["allowed_operations"] == ["stop", "force-stop", "restart"]
        check(stack, container["id"])


@pytest.mark.parametrize("last", list(Status))
def test_histories_end_with_their_status(last: Status) -> None:
    statuses = history(last, 3, random.Random(1))
    assert (statuses[0], statuses[-1]) == ("stopped", last)
    assert statuses[1::2] == ["running"] * 3
    assert "running" not in statuses[::2]
