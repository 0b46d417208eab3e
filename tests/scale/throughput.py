"""The throughput of starts under the default quotas of ECS."""

from collections import Counter
from typing import Any

from longshore.domain.errors import LongshoreError
from longshore.domain.lifecycle import Operation
from longshore.domain.models import OperationRequest, Outcome

from scale.model import Model
from scale.population import USER, Population

_SETTLING = 5  # seconds after the last request and the duration of a start, which still count


def starts(*, per_second: float, seconds: int, run_delay: float, fargate: bool = False) -> dict[str, Any]:
    """Request starts of stopped containers at a constant rate.

    Args:
        per_second: The rate at which callers request starts.
        seconds: How long.
        run_delay: Seconds from RunTask to RUNNING.
        fargate: Whether the containers run on Fargate.

    Returns:
        The figures. `reached` is the number of containers per second that were running at the end.
    """
    model = Model(run_delay=run_delay)
    population = Population(model, fargate=fargate)
    number = round(per_second * seconds)
    containers = [population.add(each, running=False) for each in range(number)]
    answers = Counter[str]()

    def ended(answer: Outcome | LongshoreError) -> None:
        answers["error" if isinstance(answer, LongshoreError) else answer.kind.value] += 1

    for each, container in enumerate(containers):
        request = OperationRequest(container.id, Operation.START, USER, f"request-{each}")
        model.later(each / per_second, lambda request=request: model.ask(request, ended))  # type: ignore[misc]
    model.sweep_each_minute(seconds)
    with model.open():
        while model.now < seconds + run_delay + _SETTLING:
            model.run(1)
            model.forget_running_tasks()
        running = Counter(population.statuses().values())["running"]
        calls = Counter(model.calls)
        # Whatever is pending when the callers have stopped settles.
        model.sweep_each_minute(600)
        model.run(660)
    spent = sum(each.seconds for each in model.invocations)
    return {
        "launch": "Fargate" if fargate else "EC2",
        "offered": per_second,
        "run_delay": run_delay,
        "reached": running / seconds,
        "accepted": answers["accepted"] / number,
        "errors": answers["error"],
        "unsettled": number - Counter(population.statuses().values())["running"],
        "run_tasks": _per_start(calls, "RunTask", running),
        "describe_tasks": _per_start(calls, "DescribeTasks", running),
        "dynamodb_reads": _per_start(calls, "GetItem", running),
        "function_seconds": spent / number,
    }


def _per_start(calls: Counter[tuple[str, str]], operation: str, started: int) -> float:
    return sum(n for (_, name), n in calls.items() if name == operation) / max(started, 1)
