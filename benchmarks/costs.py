"""Cost of a call: requests, dependent round trips and DynamoDB capacity.

Each case runs the output of `sam build` on its own container, on the emulated AWS with DynamoDB Local. DynamoDB Local
charges four write units per KB of a transaction, also for indexes. AWS charges two for an item of the table, and for an
entry of an index as much as outside of a transaction, which the authors of Dynoxide, another emulator, have measured on
AWS. So the units of transactions are converted by factors that a test transaction determines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks import prices, samples
from benchmarks.database import Aws
from benchmarks.runs import Warm
from benchmarks.targets import WORK, Targets
from benchmarks.task_events import FUNCTION, task_events
from local import tokens
from local.seed import Seeder

_LEAST = 0.03  # minimum seconds of an AWS call, so that independent calls overlap

_QUICK = {"page of 10 rows", "start", "pause"}

RUNNING = ("stopped", "running")
PAUSED = ("stopped", "running", "paused")


class Factors(NamedTuple):
    """Factors that convert DynamoDB Local's write units of a transaction to those of AWS.

    Attributes:
        items: For the items of the table.
        entries: For the entries of its indexes.
    """

    items: float
    entries: float


_OUTSIDE = Factors(1.0, 1.0)  # of a transaction


@dataclass(frozen=True)
class Case:
    """A call of a function.

    Attributes:
        name: The name in the tables.
        function: The folder of the function.
        statuses: The history of the container before the call.
        answered: The expected HTTP status.
    """

    name: str
    function: str
    statuses: tuple[str, ...]
    answered: int = 200
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None


def _cases() -> list[Case]:
    key = {"Idempotency-Key": "benchmark"}
    operations = [
        ("start", ("stopped",)),
        ("stop", RUNNING),
        ("force_stop", RUNNING),
        ("restart", RUNNING),
        ("pause", RUNNING),
        ("resume", PAUSED),
    ]
    pages = {"page of 10 rows": "10", "page of 100 rows": "100"}
    long = tuple(["stopped", "running"] * 100)
    return [
        *(Case(name, "status_logs", long, query={"limit": limit}) for name, limit in pages.items()),
        Case("container", "get_container", RUNNING),
        *(Case(function.replace("_", "-"), function, statuses) for function, statuses in operations),
        Case("start with Idempotency-Key", "start", ("stopped",), headers=key),
        Case("restart with Idempotency-Key", "restart", RUNNING, headers=key),
        Case("start, refused by the status", "start", RUNNING, answered=400),
    ]


def measure(targets: Targets, aws: Aws, *, quick: bool) -> dict[str, Any]:
    """Run every case once, after a call that warms up its function. With `quick`, run a few cases only."""
    factors = _transaction_factors(aws)
    seeder = Seeder(aws.stack)
    chosen = [case for case in _cases() if not quick or case.name in _QUICK]
    cases: dict[str, Any] = {}
    for number, case in enumerate(chosen):
        cases[case.name] = _case(targets, aws, seeder, case, number, factors)
    cases["authorizer, token not cached"] = _authorizer(targets, aws)
    api = targets.stack.api
    assert api is not None
    (settings,) = api.method_settings
    return {
        "cases": cases,
        "transaction_factors": factors._asdict(),
        "row_bytes": item_size(list(samples.history(("stopped", "running")))[-1][1]),
        "page_rcu": cases["page of 10 rows"].pop("rcu_by_table"),
        "architecture": str(targets.stack.parameters["Architecture"]),
        "throttle": [int(settings["ThrottlingRateLimit"]), int(settings["ThrottlingBurstLimit"])],
    }


def _case(targets: Targets, aws: Aws, seeder: Seeder, case: Case, number: int, factors: Factors) -> dict[str, Any]:
    with TemporaryDirectory(dir=WORK) as folder:
        # The printed bytes of a function are measured by the growth of its file.
        logs = {name: {**aws.environment, "LOGS": str(Path(folder) / name)} for name in ("operation", "events")}
        with (
            Warm(targets.python, targets.functions[case.function], "live", environment=logs["operation"]) as warm,
            task_events(targets, aws, logs["events"]) as applied,
        ):
            events = []
            for turn in range(2):
                identity = f"{number:016x}{turn:08x}"
                seeder.add(identity, case.statuses)
                events.append(_event(case, identity, turn))
            warm.call(events[0])
            warm.delay(_LEAST)
            del applied.calls[:]
            called = warm.call(events[1])
            completing = [call for call in applied.calls if _writes(call)]
    answer = called["answer"]
    if answer["statusCode"] != case.answered:
        raise RuntimeError(f"{case.name} returned {answer}")
    costs = _costs(targets, case.function, called, factors) | {
        "gateway": True,
        "answer_bytes": len(answer["body"].encode()),
        "events": [_costs(targets, FUNCTION, call, factors) for call in completing],
    }
    if case.name == "page of 10 rows":
        costs["rcu_by_table"] = _reads_by_table(_of_dynamodb(called), targets)
    return costs


def _costs(targets: Targets, function: str, called: Mapping[str, Any], factors: Factors) -> dict[str, Any]:
    """Return the units of a call of a function."""
    of_dynamodb = _of_dynamodb(called)
    units = [_units(call, factors) for call in of_dynamodb]
    return {
        "function": function,
        "memory": prices.memory_of(targets.stack, function),
        "gateway": False,
        "requests": len(of_dynamodb),
        "round_trips": depth(without_polls(of_dynamodb)),
        "other_requests": _count(
            f"{call['service']} {call['operation']}" for call in called["calls"] if call["service"] != "dynamodb"
        ),
        "rcu": sum(read for read, _ in units),
        "wcu": sum(write for _, write in units),
        "wcu_by_table": _by_table(of_dynamodb, targets, factors),
        "cpu_seconds": round(called["cpu"], 6),
        "logged_bytes": called["printed"],
    }


def _of_dynamodb(called: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [call for call in called["calls"] if call["service"] == "dynamodb"]


def _writes(called: Mapping[str, Any]) -> bool:
    """Return whether the call of the function has written. It reads an event that is not news, or not for it."""
    return any(call["operation"] == "TransactWriteItems" for call in called["calls"])


def without_polls(calls: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the calls without the repeated reads of an item by which an operation waits, except the last."""
    ordered = sorted(calls, key=lambda call: float(call["began"]))
    reads = [call["operation"] == "GetItem" for call in ordered]
    return [call for call, read, again in zip(ordered, reads, [*reads[1:], False], strict=True) if not (read and again)]


def _authorizer(targets: Targets, aws: Aws) -> dict[str, Any]:
    """Measure the authorizer with a token that is signed with the stack's secret, which it has already read."""
    event = samples.event("authorizer")
    for headers in (event["headers"], event["multiValueHeaders"]):
        sent = json.dumps(headers["Authorization"]).replace("TOKEN", tokens.token(samples.USER))
        headers["Authorization"] = json.loads(sent)
    with TemporaryDirectory(dir=WORK) as folder:
        environment = {**aws.environment, "LOGS": str(Path(folder) / "logs")}
        with Warm(targets.python, targets.functions["authorizer"], "live", environment=environment) as warm:
            warm.call(event)
            called = warm.call(event)
    if called["answer"]["policyDocument"]["Statement"][0]["Effect"] != "Allow":
        raise RuntimeError(f"the authorizer returned {called['answer']}")
    return {
        "function": "authorizer",
        "gateway": False,
        "requests": 0,
        "round_trips": 0,
        "other_requests": _count(f"{call['service']} {call['operation']}" for call in called["calls"]),
        "rcu": 0.0,
        "wcu": 0.0,
        "wcu_by_table": {},
        "cpu_seconds": round(called["cpu"], 6),
        "logged_bytes": called["printed"],
        "answer_bytes": len(json.dumps(called["answer"])),
    }


def item_size(item: samples.Item) -> int:
    """Return the size of an item in bytes, as described in AWS's "DynamoDB item sizes and formats"."""
    return sum(len(name) + _value_size(value) for name, value in item.items())


def _value_size(value: Any) -> int:
    ((kind, held),) = value.items()
    match kind:
        case "S":
            return len(held.encode())
        case "N":
            return (len(held.lstrip("-")) + 1) // 2 + 1
        case "BOOL":
            return 1
        case "L":
            return 3 + sum(1 + _value_size(inner) for inner in held)
        case "M":
            return 3 + sum(1 + len(name) + _value_size(inner) for name, inner in held.items())
        case _:
            raise ValueError(f"the size of type {kind} is not implemented")


def _event(case: Case, identity: str, turn: int) -> Any:
    event = samples.page_event() if case.function == "status_logs" else samples.event(case.function)
    event["pathParameters"]["id"] = identity
    if case.query:
        event["queryStringParameters"] = dict(case.query)
        event["multiValueQueryStringParameters"] = {name: [value] for name, value in case.query.items()}
    for name, value in (case.headers or {}).items():
        event["headers"][name] = f"{value}-{identity}-{turn}"
        event["multiValueHeaders"][name] = [f"{value}-{identity}-{turn}"]
    return event


def depth(calls: Iterable[Mapping[str, Any]]) -> int:
    """Return the length of the longest chain of calls in which each call began after the previous call had ended."""
    length, ended = 0, 0.0
    for call in sorted(calls, key=lambda call: float(call["ended"])):
        if call["began"] >= ended:
            length, ended = length + 1, call["ended"]
    return length


def _units(call: Mapping[str, Any], factors: Factors) -> tuple[float, float]:
    """Return the read and write units of a call, as AWS counts them."""
    match call["operation"]:
        case "GetItem" | "Query" | "Scan":
            return float(sum(part["CapacityUnits"] for part in call["capacity"])), 0.0
        case "TransactWriteItems" | "PutItem" | "UpdateItem" | "DeleteItem":
            return 0.0, sum(_written(call, part, factors).total for part in call["capacity"])
        case other:
            raise RuntimeError(f"the units of {other} are not implemented")


class Written(NamedTuple):
    """Write units of a call on a table, as AWS counts them.

    Attributes:
        table: Units of the table's items.
        local_indexes: Units of its local indexes.
        global_indexes: Units of its global indexes.
    """

    table: float
    local_indexes: float
    global_indexes: float

    @property
    def total(self) -> float:
        return sum(self)


def _written(call: Mapping[str, Any], part: Mapping[str, Any], factors: Factors) -> Written:
    """Return the write units of a part of a call's consumed capacity."""
    items, entries = factors if call["operation"] == "TransactWriteItems" else _OUTSIDE
    return Written(
        part["Table"]["CapacityUnits"] * items,
        _of_indexes(part, "Local") * entries,
        _of_indexes(part, "Global") * entries,
    )


def _of_indexes(part: Mapping[str, Any], scope: str) -> float:
    return float(sum(each["CapacityUnits"] for each in part.get(f"{scope}SecondaryIndexes", {}).values()))


def _by_table(calls: Iterable[Mapping[str, Any]], targets: Targets, factors: Factors) -> dict[str, float]:
    """Return the write units by table. Global indexes are separate; local indexes share the table's partitions."""
    names = {targets.table(f"{name}Table"): name for name in ("Containers", "StatusLogs", "Access", "Idempotency")}
    found: dict[str, float] = {}
    for call in calls:
        if call["operation"] in ("GetItem", "Query", "Scan"):
            continue
        for part in call["capacity"]:
            written = _written(call, part, factors)
            table = names[part["TableName"]]
            found[table] = found.get(table, 0.0) + written.table + written.local_indexes
            if written.global_indexes:
                found[f"{table} indexes"] = found.get(f"{table} indexes", 0.0) + written.global_indexes
    return found


def _reads_by_table(calls: Iterable[Mapping[str, Any]], targets: Targets) -> dict[str, float]:
    names = {targets.table(f"{name}Table"): name for name in ("Containers", "StatusLogs", "Access")}
    return {names[part["TableName"]]: part["CapacityUnits"] for call in calls for part in call["capacity"]}


def _count(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found


def _transaction_factors(aws: Aws) -> Factors:
    """Write the same item outside and inside of a transaction, and compare the units."""
    dynamodb = aws.stack.client("dynamodb")
    key = {"id": {"S": "benchmark"}}
    item = key | {"project_id": {"S": "benchmark"}, "name": {"S": "benchmark"}}
    table = aws.stack.table_name("ContainersTable")
    put = {"TableName": table, "Item": item}
    alone = dynamodb.put_item(**put, ReturnConsumedCapacity="INDEXES")["ConsumedCapacity"]
    dynamodb.delete_item(TableName=table, Key=key)
    answer = dynamodb.transact_write_items(TransactItems=[{"Put": put}], ReturnConsumedCapacity="INDEXES")
    dynamodb.delete_item(TableName=table, Key=key)
    (inside,) = answer["ConsumedCapacity"]
    return Factors(
        items=2 * alone["Table"]["CapacityUnits"] / inside["Table"]["CapacityUnits"],
        entries=_of_indexes(alone, "Global") / _of_indexes(inside, "Global"),
    )
