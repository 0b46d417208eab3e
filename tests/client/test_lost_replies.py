"""Every operation takes effect exactly once behind a proxy that loses every third response.

The test performs 48 operations, or 200 with LONGSHORE_SCALE=full.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from invariants import all_rows, check
from longshore_client import Longshore, Retries, TransportError
from longshore_client.models import Operation, Status
from lossy_proxy import LossyProxy

from local import tokens
from local.seed import Seeder
from local.stack import LocalStack

CONTAINERS = 8
OPERATIONS_OF_EACH = 25 if os.environ.get("LONGSHORE_SCALE") == "full" else 6
ALLOWED: dict[Status, list[Operation]] = {
    "stopped": ["start", "restart"],
    "running": ["stop", "force-stop", "restart", "pause"],
    "paused": ["stop", "force-stop", "restart", "resume"],
}
GOALS: dict[Operation, Status] = {
    "start": "running",
    "stop": "stopped",
    "force-stop": "stopped",
    "restart": "running",
    "pause": "paused",
    "resume": "running",
}


@pytest.fixture
def proxy(stack: LocalStack) -> Iterator[LossyProxy]:
    with LossyProxy(stack.url) as made:
        yield made


@pytest.fixture
def lossy_client(proxy: LossyProxy) -> Iterator[Longshore]:
    # Several threads share the proxy, so that it may lose several requests of one thread in a row.
    retries = Retries(attempts=20, first_delay=0.005, max_delay=0.02)
    with Longshore(proxy.url, tokens.token("operator"), retries=retries) as made:
        yield made


def live(client: Longshore, container: str, seed: int) -> tuple[list[str], int]:
    """Run random allowed operations. Return the expected statuses of the rows and the expected number of tasks."""
    chance = random.Random(seed)
    rows: list[str] = []
    tasks = 0
    status: Status = "stopped"
    for _ in range(OPERATIONS_OF_EACH):
        operation = chance.choice(ALLOWED[status])
        result = client.api.containers.manage(container, operation, wait=True)
        assert result.status == GOALS[operation]
        if operation == "restart" and status != "stopped":
            rows.append("stopped")
        rows.append(result.status)
        tasks += operation in ("start", "restart")
        status = result.status
    return rows, tasks


def test_each_operation_takes_effect_once(
    stack: LocalStack, seeder: Seeder, proxy: LossyProxy, lossy_client: Longshore
) -> None:
    containers = [f"{number:024x}" for number in range(0xC11E0000, 0xC11E0000 + CONTAINERS)]
    for container in containers:
        seeder.add(container, ["stopped"])

    with ThreadPoolExecutor(4) as pool:
        lives = list(pool.map(lambda number: live(lossy_client, containers[number], number), range(CONTAINERS)))

    run = Counter(task.started_by for task in stack.emulator.ecs.tasks())
    for container, (rows, tasks) in zip(containers, lives, strict=True):
        assert [row["to_status"] for row in all_rows(stack, container)] == ["stopped", *rows]
        assert run[container] == tasks
        check(stack, container)
    # Every third request was lost and retried. Every fourth of these was not forwarded.
    requests = proxy.fates.total()
    assert proxy.fates["answered"] == CONTAINERS * OPERATIONS_OF_EACH
    assert proxy.fates["reply lost"] + proxy.fates["never forwarded"] == requests // 3
    assert proxy.fates["never forwarded"] == requests // 3 // 4


def test_without_retries_a_lost_response_raises_an_error(
    stack: LocalStack, seeder: Seeder, proxy: LossyProxy, fresh_id: str
) -> None:
    """The operation has taken effect although the call has raised an error."""
    seeder.add(fresh_id, ["stopped"])
    with Longshore(proxy.url, tokens.token("operator"), retries=Retries(attempts=1)) as client:
        client.api.containers.get(fresh_id)
        client.api.containers.get(fresh_id)
        with pytest.raises(TransportError) as lost:
            client.api.containers.manage(fresh_id, "start")
        assert check(stack, fresh_id)["status"] == "running"
        # The key in the error returns the stored response.
        result = client.api.containers.manage(fresh_id, "start", idempotency_key=lost.value.idempotency_key)
    assert (result.status, result.completed) == ("running", True)
    assert check(stack, fresh_id)["log_count"] == 2
