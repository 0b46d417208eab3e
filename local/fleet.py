"""The fleet of `make up`: 60 containers in three projects, in addition to the demo containers that tests use."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from longshore.domain.lifecycle import Operation
from longshore.domain.schedules import ScheduleSettings, Targets

from local.seed import GONE_INSTANCE, PROJECT, Seeder, Stack, metadata_of

DATA_PLATFORM = "507f1f77bcf86cd799439034"
CUSTOMER_PORTAL = "507f1f77bcf86cd799439035"

ROLES = {
    DATA_PLATFORM: {"owner": "operator", "operator": "owner", "viewer": "viewer"},
    CUSTOMER_PORTAL: {"owner": "owner", "operator": "viewer", "viewer": "operator"},
}
"""The roles of the demo's users in the projects that only the fleet has."""

_NAMES = {
    PROJECT: {
        "running": "web-1 web-2 web-3 web-4 api-1 api-2 checkout-1 checkout-2 cart catalog inventory prices reviews",
        "stopped": "inventory-import sitemap black-friday returns-dev web-dev",
        "paused": "coupons cart-staging",
    },
    DATA_PLATFORM: {
        "running": "kafka-1 kafka-2 kafka-3 ingest-1 ingest-2 airflow airflow-worker-1 airflow-worker-2 metabase",
        "stopped": "backfill-2025 notebook-dev spark-dev nightly-export schema-check",
        "paused": "ingest-staging feature-store",
        "failed": "airflow-worker-3 dedupe",
        "expired": "hadoop-edge notebook-gpu",
    },
    CUSTOMER_PORTAL: {
        "running": "portal-1 portal-2 portal-3 auth tickets chat notifications audit-log",
        "stopped": "portal-dev auth-dev survey-2025 pdf-renderer load-test chat-dev",
        "paused": "portal-staging tickets-staging",
        "failed": "mail-gateway webhooks",
        "expired": "legacy-login fax-bridge",
    },
}
"""Names of containers, by project and status."""

_PROJECT_NAMES = {PROJECT: "Storefront", DATA_PLATFORM: "Data platform", CUSTOMER_PORTAL: "Customer portal"}
_TEAMS = {PROJECT: ("storefront", "payments"), DATA_PLATFORM: ("pipelines", "analytics"), CUSTOMER_PORTAL: ("support",)}
_PACES = (timedelta(minutes=35), timedelta(hours=2), timedelta(hours=9), timedelta(days=1), timedelta(days=3))
_CYCLES = (1, 1, 2, 3, 5, 8, 20)
_FAILURES: Sequence[dict[str, Any]] = (
    {"reason": "Essential container in task exited", "exit_code": 1},
    {"reason": "OutOfMemoryError: Container killed due to memory usage", "exit_code": 137},
    {"reason": "CannotPullContainerError: pull image manifest has been retried 1 time(s)"},
)


class Plan(NamedTuple):
    """A container of the fleet, before it is written."""

    identity: str
    name: str
    project: str
    statuses: list[str]
    labels: dict[str, str]
    every: timedelta

    def metadata(self, statuses: Sequence[str], position: int) -> dict[str, Any]:
        """Return the metadata of a change: users take turns, and development environments stop at night."""
        cause = metadata_of(statuses, position)
        if cause.get("command") == "stop" and self.labels["env"] == "dev":
            return {"command": "stop", "rule": "night"}
        if "actor" in cause:
            return cause | {"actor": ("operator", "owner")[position // 2 % 2]}
        return _FAILURES[position // 2 % len(_FAILURES)] if statuses[position] == "failed" else cause


def seed_fleet(stack: Stack) -> None:
    """Write the fleet, its projects and a schedule, and run tasks that can be adopted. The demo project exists."""
    seeder = Seeder(stack)
    seeder.unmanaged_tasks("shop")
    for project, name in _PROJECT_NAMES.items():
        seeder.name_project(project, name)
    # Disabled, so that it does not change the fleet while somebody looks at it.
    targets = Targets(labels={"env": "dev"})
    hours = ScheduleSettings(Operation.START, "cron(0 8 ? * MON-FRI *)", "Europe/Berlin", targets, enabled=False)
    seeder.schedule("working-hours", hours)
    for project, roles in ROLES.items():
        for user, role in roles.items():
            seeder.grant(user, project, role)
    for number, plan in enumerate(plans()):
        last = plan.statuses[-1]
        seeder.add(
            plan.identity,
            plan.statuses,
            name=plan.name,
            project=plan.project,
            # Tasks on Fargate are neither paused nor lost with a server.
            launch_type="FARGATE" if number % 5 == 4 and last in ("running", "stopped") else "EC2",
            capacity_provider="FARGATE_SPOT" if number % 10 == 9 and last in ("running", "stopped") else None,
            server=GONE_INSTANCE if last == "expired" else None,
            labels=plan.labels,
            every=plan.every,
            metadata=plan.metadata,
        )


def plans() -> list[Plan]:
    """Return the containers of the fleet. They are the same in each run."""
    choose = random.Random("fleet")
    return [
        Plan(
            identity=f"{choose.getrandbits(96):024x}",
            name=name,
            project=project,
            statuses=history(status, choose.choice(_CYCLES), choose),
            labels={"env": _environment(name), "team": choose.choice(_TEAMS[project])},
            every=choose.choice(_PACES),
        )
        for project, names in _NAMES.items()
        for status, listed in names.items()
        for name in listed.split()
    ]


def history(last: str, cycles: int, choose: random.Random) -> list[str]:
    """Return statuses with valid transitions, from `stopped` to `last`.

    Args:
        last: The last status.
        cycles: How often the container is started; at least once.
        choose: The source of randomness.
    """
    statuses = ["stopped"]
    for _ in range(cycles):
        statuses += ["running", choose.choice(["stopped", "stopped", "stopped", "paused", "failed"])]
    return statuses[:-1] if last == "running" else [*statuses[:-1], last]


def _environment(name: str) -> str:
    suffix = name.rpartition("-")[2]
    return suffix if suffix in ("dev", "staging") else "prod"
