"""Schedules that members of a project save, read and delete."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from longshore.aws.access import Access
from longshore.aws.project_history import ProjectHistory
from longshore.aws.schedule_cache import ScheduleCache
from longshore.aws.scheduler import Definition, ScheduleGroup, ScheduleTarget, schedule_of
from longshore.domain.bodies import fault
from longshore.domain.clock import Clock
from longshore.domain.errors import (
    ExternalServiceError,
    InvalidInputError,
    ScheduleNotFoundError,
    UnreadableItemError,
)
from longshore.domain.roles import Role
from longshore.domain.schedules import MOST_SCHEDULES, Schedule, ScheduleSettings
from longshore.engine.concurrency import together

_TRIES = 10


class SavedSchedules:
    """Reads and changes the schedules of projects for a user. Every method returns JSON values.

    Args:
        on_unreadable: Called with the full name and the error of each schedule that a list leaves out.

    Raises:
        AccountBannedError: Every method: the user is banned.
        ProjectNotFoundError: Every method: the project does not exist, or the user is not a member of it.
        InsufficientPermissionsError: `save` and `delete`: the user's role does not permit it.
        ExternalServiceError: Every method: EventBridge Scheduler or DynamoDB failed. `save` and `delete` may have taken
            effect, and can be repeated.
    """

    def __init__(
        self,
        group: ScheduleGroup,
        cache: ScheduleCache,
        access: Access,
        clock: Clock,
        on_unreadable: Callable[[str, UnreadableItemError], None],
    ) -> None:
        self._group = group
        self._cache = cache
        self._access = access
        self._clock = clock
        self._on_unreadable = on_unreadable

    def list(self, user_id: str, project_id: str) -> dict[str, Any]:
        """Return the schedules of a project, sorted by name, in the shape of `Schedules`."""
        now = self._clock.now()
        modified, copies, grants = together(
            lambda: self._group.modified(project_id),
            lambda: self._cache.definitions(project_id),
            lambda: self._access.all_grants(user_id),
        )
        self._access.admit_to_project(grants, project_id)
        known = {name: copy for name, copy in copies.items() if copy.modified_at == modified.get(name)}
        others = [name for name in modified if name not in known]
        read = together(*(partial(self._group.definition, project_id, name) for name in others))
        known |= {name: found for name, found in zip(others, read, strict=True) if found is not None}
        if known != copies:
            # Without the copies, the next list only takes longer.
            with suppress(ExternalServiceError):
                self._cache.keep(project_id, known, now)
        found = [self._readable(project_id, name, known[name]) for name in modified if name in known]
        return {"schedules": [schedule.view(now) for schedule in found if schedule is not None]}

    def get(self, user_id: str, project_id: str, name: str) -> dict[str, Any]:
        """Return a schedule in the shape of `ScheduleView`.

        Raises:
            ScheduleNotFoundError: It does not exist.
            UnreadableItemError: It was not written by this version.
        """
        found, grants = together(lambda: self._found(project_id, name), lambda: self._access.all_grants(user_id))
        self._access.admit_to_project(grants, project_id)
        if found is None:
            raise ScheduleNotFoundError
        if isinstance(found, UnreadableItemError):
            raise found
        return found.view(self._clock.now())

    def save(
        self,
        user_id: str,
        project_id: str,
        name: str,
        settings: ScheduleSettings,
        *,
        members: ProjectHistory,
        target: ScheduleTarget,
    ) -> dict[str, Any]:
        """Create a schedule, or replace the one with this name. Safe to repeat.

        Args:
            user_id: The user, with whose role the schedule will run.
            project_id: The project.
            name: The name of the schedule.
            settings: What it does, and when.
            members: Reads which containers are in the project.
            target: The function that runs it.

        Returns:
            The schedule in the shape of `ScheduleView`.

        Raises:
            InvalidInputError: A container is not in the project, the project has too many schedules, or EventBridge
                Scheduler does not accept the expression. Nothing has changed.
        """
        ids = settings.targets.container_ids or ()
        existing, grants, found = together(
            lambda: self._found(project_id, name),
            lambda: self._access.all_grants(user_id),
            lambda: members.containers(project_id, ids),
        )
        self._access.admit_to_project(grants, project_id, needs=Role.OPERATOR)
        if faults := settings.targets.faults_outside({each for each, of in found.items() if of.name is not None}):
            raise InvalidInputError(faults)
        now = self._clock.now()
        present = existing if isinstance(existing, Schedule) else None
        schedule = Schedule(project_id, name, settings, user_id, now).starting(present)
        self._write(schedule, target, exists=existing is not None)
        return schedule.view(now)

    def delete(self, user_id: str, project_id: str, name: str) -> dict[str, Any]:
        """Delete a schedule, if it exists. Returns the shape of `DeletedSchedule`. Safe to repeat."""
        self._access.admit_to_project(self._access.all_grants(user_id), project_id, needs=Role.OPERATOR)
        self._group.delete(project_id, name)
        return {"name": name}

    def _found(self, project_id: str, name: str) -> Schedule | UnreadableItemError | None:
        """Return a schedule, the error if it cannot be read, or None if it does not exist."""
        try:
            return self._group.find(project_id, name)
        except UnreadableItemError as error:
            return error

    def _readable(self, project_id: str, name: str, definition: Definition) -> Schedule | None:
        """Return the schedule with a definition, or None if it cannot be read."""
        try:
            return schedule_of(project_id, name, definition)
        except UnreadableItemError as error:
            self._on_unreadable(error.item_id, error)
            return None

    def _write(self, schedule: Schedule, target: ScheduleTarget, *, exists: bool) -> None:
        """Create or replace the schedule. Another request may create or delete it at any time."""
        for _ in range(_TRIES):
            if exists:
                if self._group.replace(schedule, target):
                    return
            else:
                # Requests that create the last schedules at the same time may exceed the limit.
                others = set(self._group.modified(schedule.project_id)) - {schedule.name}
                if len(others) >= MOST_SCHEDULES:
                    raise InvalidInputError([fault(f"must be one of at most {MOST_SCHEDULES} of the project", "name")])
                if self._group.create(schedule, target):
                    return
            exists = not exists
        raise ExternalServiceError("The schedule is being changed by other requests")
