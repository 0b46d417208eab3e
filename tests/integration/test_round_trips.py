"""Tests of the number of dependent DynamoDB calls of each request, which determines its latency."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from api_client import Api
from invariants import check

from local.seed import PROJECT, Seeder, container_id
from local.stack import LocalStack

# Minimum duration of each call in seconds, so that independent calls overlap.
MIN_SECONDS = 0.1
HISTORIES = {
    "stopped": ["stopped"],
    "running": ["stopped", "running"],
    "paused": ["stopped", "running", "paused"],
    "failed": ["stopped", "running", "failed"],
}
# Operation, the container's status, and the longest chain of calls: the reads, the claim, the write of the task that a
# start has run, and a commit for each row.
OPERATIONS = [
    ("start", "stopped", 4),
    ("stop", "running", 3),
    ("stop", "paused", 3),
    ("force-stop", "running", 3),
    ("force-stop", "paused", 3),
    ("force-stop", "failed", 3),
    ("restart", "stopped", 4),
    ("restart", "failed", 4),
    ("restart", "running", 5),
    ("restart", "paused", 5),
    ("pause", "running", 3),
    ("resume", "paused", 3),
]


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack without events and sweeps, whose calls would be recorded, too."""
    quick = {"run_delay": 0.05, "stop_delay": 0.05, "command_delay": 0.03}
    with LocalStack(port=0, parameters={"WaitSeconds": "3"}, emulator_options=quick, events=False) as local:
        yield local


@dataclass
class Call:
    operation: str
    thread: int
    started: float
    ended: float = 0


@dataclass
class Recorder:
    calls: list[Call] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def counted(self) -> list[Call]:
        """The calls without the reads of the item during the wait, which do not delay the answer."""
        writes = [call.ended for call in self.calls if call.operation in ("UpdateItem", "TransactWriteItems")]
        claimed = min(writes, default=float("inf"))
        return [call for call in self.calls if call.operation != "GetItem" or call.started < claimed]

    @property
    def depth(self) -> int:
        """Return the length of the longest chain of calls in which each starts after the previous one has ended."""
        depth, ended = 0, 0.0
        for call in sorted(self.counted, key=lambda call: call.ended):
            if call.started >= ended:
                depth, ended = depth + 1, call.ended
        return depth

    @property
    def operations(self) -> list[str]:
        return [call.operation for call in sorted(self.counted, key=lambda call: call.started)]


@contextmanager
def recorded(stack: LocalStack) -> Iterator[Recorder]:
    """Record the DynamoDB calls of the functions, and check that the emulator has received the same number."""
    from longshore.wiring import api_functions

    recorder = Recorder()
    current = threading.local()

    def before(model: Any, **_: Any) -> None:
        current.call = Call(model.name, threading.get_ident(), time.monotonic())

    def sent(**_: Any) -> None:
        # By now concurrent calls have been scheduled.
        time.sleep(MIN_SECONDS)

    def after(**_: Any) -> None:
        current.call.ended = time.monotonic()
        with recorder.lock:
            recorder.calls.append(current.call)

    events = api_functions.dynamodb().meta.events
    hooks: dict[str, Callable[..., None]] = {
        "before-call.dynamodb": before,
        "before-send": sent,
        "after-call.dynamodb": after,
        "after-call-error.dynamodb": after,
    }
    seen = stack.emulator.calls.count("dynamodb")
    for name, hook in hooks.items():
        events.register(name, hook)
    try:
        yield recorder
    finally:
        for name, hook in hooks.items():
            events.unregister(name, hook)
    assert stack.emulator.calls.count("dynamodb") - seen == len(recorder.calls)


@pytest.mark.parametrize("keyed", [False, True], ids=["no key", "Idempotency-Key"])
@pytest.mark.parametrize(("operation", "status", "depth"), OPERATIONS)
def test_an_operation(
    stack: LocalStack,
    api: Api,
    seeder: Seeder,
    fresh_id: str,
    operation: str,
    status: str,
    depth: int,
    keyed: bool,
) -> None:
    seeder.add(fresh_id, HISTORIES[status])
    headers = {"Idempotency-Key": f"trips-{fresh_id}"} if keyed else {}
    with recorded(stack) as recorder:
        response = api.post(fresh_id, operation, headers=headers)
    assert response.status_code == 200
    assert recorder.depth <= depth, recorder.operations
    # The parallel reads are complete: container, grants, and the key.
    assert recorder.operations.count("GetItem") == (2 if keyed else 1)
    assert recorder.operations.count("Query") == 1
    check(stack, fresh_id)


@pytest.mark.parametrize("keyed", [False, True], ids=["no key", "Idempotency-Key"])
@pytest.mark.parametrize(
    ("operation", "status", "code", "depth"),
    [
        ("start", "running", "OPERATION_STATE_CONFLICT", 1),
        ("stop", "failed", "OPERATION_STATE_CONFLICT", 1),
        ("resume", "stopped", "OPERATION_STATE_CONFLICT", 1),
    ],
)
def test_a_conflict(
    stack: LocalStack,
    api: Api,
    seeder: Seeder,
    fresh_id: str,
    operation: str,
    status: str,
    code: str,
    depth: int,
    keyed: bool,
) -> None:
    seeder.add(fresh_id, HISTORIES[status])
    headers = {"Idempotency-Key": f"trips-{fresh_id}"} if keyed else {}
    with recorded(stack) as recorder:
        assert api.post(fresh_id, operation, headers=headers).json()["code"] == code
    # With a key the response is stored, which is one more call.
    assert recorder.depth <= depth + keyed, recorder.operations


def test_a_retry_with_the_same_key(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    headers = {"Idempotency-Key": f"trips-{fresh_id}"}
    first = api.post(fresh_id, "start", headers=headers)
    with recorded(stack) as recorder:
        again = api.post(fresh_id, "start", headers=headers)
    assert again.json() == first.json()
    assert recorder.depth == 1, recorder.operations


@pytest.mark.parametrize("user", ["banned", "viewer", "stranger"])
def test_a_rejected_request(stack: LocalStack, api: Api, user: str) -> None:
    with recorded(stack) as recorder:
        assert api.post(container_id(11), "start", user).status_code in (403, 404)
    assert recorder.depth == 1, recorder.operations


def test_a_container(stack: LocalStack, api: Api) -> None:
    with recorded(stack) as recorder:
        assert api.get(container_id(11)).status_code == 200
    assert recorder.depth == 1
    assert sorted(recorder.operations) == ["GetItem", "Query"]


@pytest.mark.parametrize("sort_by", ["transition_time", "created_at", "to_status", "from_status"])
@pytest.mark.parametrize("page", [1, 10])
def test_a_page_of_history(stack: LocalStack, api: Api, sort_by: str, page: int) -> None:
    with recorded(stack) as recorder:
        assert api.logs(container_id(17), sort_by=sort_by, page=page, limit=100).status_code == 200
    assert recorder.depth == 2
    assert sorted(recorder.operations) == ["GetItem", "Query", "Query"]


@pytest.mark.parametrize(
    "query",
    [{}, {"page": 2, "limit": 3, "sort_by": "updated_at"}, {"status": "running,stopped", "name": "e"}, {"cursor": ""}],
)
def test_a_list_of_a_project(stack: LocalStack, api: Api, query: dict[str, Any]) -> None:
    with recorded(stack) as recorder:
        response = api.call("GET", f"/projects/{PROJECT}/containers", params=query)
    assert response.json()["data"]["containers"]
    assert recorder.depth == 2
    assert sorted(recorder.operations) == ["BatchGetItem", "Query", "Query"]


def test_a_cursor_in_the_middle_of_a_project(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    # Containers with equal names are read together, so the names differ.
    project = f"c0{fresh_id[2:]}"
    seeder.members(project)
    for number in range(6):
        seeder.add(f"{number:02x}{fresh_id[2:]}", ["stopped"], name=f"web-{number}", project=project)
    path = f"/projects/{project}/containers"
    first = api.call("GET", path, params={"cursor": "", "limit": 2}).json()["data"]
    cursor = first["pagination"]["next_cursor"]
    with recorded(stack) as recorder:
        assert len(api.call("GET", path, params={"cursor": cursor, "limit": 2}).json()["data"]["containers"]) == 2
    assert recorder.depth == 2
    assert sorted(recorder.operations) == ["BatchGetItem", "Query", "Query"]


def test_a_list_of_all_projects(stack: LocalStack, api: Api, seeder: Seeder) -> None:
    """The grants come first. The projects are then read at the same time."""
    for number in range(6):
        seeder.grant("manager", f"{number:024x}", "viewer")
    seeder.grant("manager", PROJECT, "viewer")
    with recorded(stack) as recorder:
        assert api.call("GET", "/containers", "manager").json()["data"]["containers"]
    assert recorder.depth == 3
    assert sorted(recorder.operations) == ["BatchGetItem", *["Query"] * 8]


def test_the_projects_of_a_user(stack: LocalStack, api: Api) -> None:
    """The names of the projects are read at the same time as the grants."""
    with recorded(stack) as recorder:
        assert api.call("GET", "/projects").json()["data"]["projects"]
    assert recorder.depth == 1
    assert recorder.operations == ["Query", "Query"]


RANGE = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}


@pytest.mark.parametrize("sort_by", ["transition_time", "created_at", "to_status", "from_status"])
@pytest.mark.parametrize("filters", [{}, RANGE, {"from": RANGE["from"]}, {"to": RANGE["to"]}])
@pytest.mark.parametrize("status", [False, True])
@pytest.mark.parametrize("page", [1, 3])
def test_a_page_of_a_filtered_history(
    stack: LocalStack, api: Api, sort_by: str, filters: dict[str, str], status: bool, page: int
) -> None:
    """The first and the last row of the range are read with the counters; each status of a page is one Query."""
    by_status = {"from_status" if sort_by == "from_status" else "to_status": "running"} if status else {}
    with recorded(stack) as recorder:
        data = api.logs(container_id(17), sort_by=sort_by, page=page, limit=100, **filters, **by_status).json()["data"]
    assert len(data["logs"]) == 100
    assert recorder.depth == 2, recorder.operations
    edges = len(filters)
    pages = recorder.operations.count("Query") - edges - 1
    assert pages == 1 if status or sort_by.endswith("time") or sort_by == "created_at" else 1 <= pages <= 5
    assert recorder.operations.count("GetItem") == 1


@pytest.mark.parametrize("query", [{}, {"container_id": container_id(17)}, {"sort_order": "asc"}, RANGE])
def test_a_page_of_the_history_of_a_project(stack: LocalStack, api: Api, query: dict[str, str]) -> None:
    with recorded(stack) as recorder:
        response = api.call("GET", f"/projects/{PROJECT}/status-logs", params=query)
    assert len(response.json()["data"]["logs"]) == 50
    assert recorder.depth == 2
    assert sorted(recorder.operations) == ["BatchGetItem", "Query", "Query"]


@pytest.mark.parametrize("query", [{"actor": "nobody"}, {"to_status": "expired"}])
def test_a_filtered_page_of_the_history_of_a_project(stack: LocalStack, api: Api, query: dict[str, str]) -> None:
    """At most three reads of rows, and the read of the names."""
    with recorded(stack) as recorder:
        assert api.call("GET", f"/projects/{PROJECT}/status-logs", params=query).status_code == 200
    assert recorder.depth <= 4
    assert recorder.operations.count("Query") <= 4


@pytest.mark.parametrize("user", ["banned", "stranger"])
def test_a_rejected_page_of_the_history_of_a_project(stack: LocalStack, api: Api, user: str) -> None:
    with recorded(stack) as recorder:
        assert api.call("GET", f"/projects/{PROJECT}/status-logs", user).status_code in (403, 404)
    assert recorder.depth == 1


def test_the_recorder_measures_depth(stack: LocalStack) -> None:
    """Two consecutive calls have depth two, and two concurrent calls have depth one."""
    from longshore.engine.concurrency import together
    from longshore.wiring import api_functions

    store = api_functions.store()
    with recorded(stack) as recorder:
        store.container(container_id(11))
        together(lambda: store.container(container_id(11)), lambda: store.container(container_id(12)))
    assert recorder.operations == ["GetItem"] * 3
    assert recorder.depth == 2
    assert len({call.thread for call in recorder.calls}) == 2
