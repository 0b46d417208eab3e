"""Schedules of projects, for the sync and the async client."""

from longshore_client import _schedules
from longshore_client._drivers import AsyncDriver, Driver
from longshore_client.models import Operation, Schedule, Targets
from longshore_client.retries import Retries


class Schedules:
    """Reads and changes the schedules of projects.

    Every method raises errors of `longshore_client.errors`. Requests are retried according to `Retries` if no response
    arrives or the API returns a transient error. All of them can be repeated.
    """

    def __init__(self, driver: Driver, retries: Retries) -> None:
        self._driver = driver
        self._retries = retries

    def get_all(self, project_id: str) -> tuple[Schedule, ...]:
        """Get the schedules of a project, sorted by name."""
        return self._driver.run(_schedules.get_all(project_id, self._retries))

    def get(self, project_id: str, name: str) -> Schedule:
        """Get a schedule.

        Args:
            project_id: The id of the project.
            name: The name of the schedule.

        Raises:
            ScheduleNotFoundError: The project has no schedule with this name.
            LongshoreError: The API returned another error or did not respond.
        """
        return self._driver.run(_schedules.get(project_id, name, self._retries))

    def save(
        self,
        project_id: str,
        name: str,
        *,
        operation: Operation,
        expression: str,
        targets: Targets,
        timezone: str = "UTC",
        enabled: bool = True,
    ) -> Schedule:
        """Create a schedule, or replace the one with this name. Requires the role `operator`.

        The schedule runs with the role of the caller.

        Args:
            project_id: The id of the project.
            name: The name of the schedule: 1 to 32 characters of `a-z`, `0-9` and `-`.
            operation: The operation to run.
            expression: `cron(…)`, `rate(…)` or `at(…)`, as Amazon EventBridge Scheduler defines them.
            targets: The containers to operate, such as `{"all": True}`. See `Targets`.
            timezone: The IANA name of the time zone of the expression.
            enabled: Whether the schedule runs.

        Raises:
            ValidationError: A value is invalid, or the project has too many schedules.
            LongshoreError: The API returned another error or did not respond.
        """
        plan = _schedules.save(project_id, name, operation, expression, targets, timezone, enabled, self._retries)
        return self._driver.run(plan)

    def delete(self, project_id: str, name: str) -> None:
        """Delete a schedule, if it exists. Requires the role `operator`.

        Args:
            project_id: The id of the project.
            name: The name of the schedule.

        Raises:
            LongshoreError: The API returned an error, such as InsufficientPermissionsError, or did not respond.
        """
        self._driver.run(_schedules.delete(project_id, name, self._retries))


class AsyncSchedules:
    """Reads and changes the schedules of projects. Equivalent to `Schedules`, and raises the same errors."""

    def __init__(self, driver: AsyncDriver, retries: Retries) -> None:
        self._driver = driver
        self._retries = retries

    async def get_all(self, project_id: str) -> tuple[Schedule, ...]:
        """Get the schedules of a project, sorted by name. See `Schedules.get_all`."""
        return await self._driver.run(_schedules.get_all(project_id, self._retries))

    async def get(self, project_id: str, name: str) -> Schedule:
        """Get a schedule. See `Schedules.get`."""
        return await self._driver.run(_schedules.get(project_id, name, self._retries))

    async def save(
        self,
        project_id: str,
        name: str,
        *,
        operation: Operation,
        expression: str,
        targets: Targets,
        timezone: str = "UTC",
        enabled: bool = True,
    ) -> Schedule:
        """Create a schedule, or replace the one with this name. See `Schedules.save`."""
        plan = _schedules.save(project_id, name, operation, expression, targets, timezone, enabled, self._retries)
        return await self._driver.run(plan)

    async def delete(self, project_id: str, name: str) -> None:
        """Delete a schedule, if it exists. See `Schedules.delete`."""
        await self._driver.run(_schedules.delete(project_id, name, self._retries))
