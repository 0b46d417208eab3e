"""Creates the objects of the functions that read and change schedules. Other objects come from `api_functions`."""

import os
import zoneinfo
from functools import cache

from longshore.aws.project_history import ProjectHistory
from longshore.aws.schedule_cache import ScheduleCache
from longshore.aws.scheduler import ScheduleGroup, ScheduleTarget
from longshore.domain.clock import SystemClock
from longshore.edge.lambda_events import log_failure
from longshore.engine.saved_schedules import SavedSchedules
from longshore.wiring import api_functions

_ZONES = "/usr/share/zoneinfo"

# `coldstart` lets zoneinfo search no folder. Only these functions need the time zones of Lambda's operating system.
if not zoneinfo.TZPATH:
    zoneinfo.reset_tzpath((_ZONES,))


@cache
def saved_schedules() -> SavedSchedules:
    clock = SystemClock()
    group = ScheduleGroup(api_functions.scheduler(), os.environ["SCHEDULE_GROUP"], clock)
    # Only the list reads and writes it.
    cache = ScheduleCache(api_functions.dynamodb(), os.environ.get("SCHEDULE_CACHE_TABLE", ""))
    return SavedSchedules(group, cache, api_functions.access(), clock, log_failure)


@cache
def target() -> ScheduleTarget:
    """Return the target of the schedules that callers save."""
    return ScheduleTarget(
        function_arn=os.environ["SCHEDULE_FUNCTION_ARN"],
        role_arn=os.environ["SCHEDULE_ROLE_ARN"],
        dead_letters_arn=os.environ["DEAD_LETTERS_ARN"],
    )


def members() -> ProjectHistory:
    """Return the reader of the containers of a project."""
    return api_functions.project_history()


def forget() -> None:
    """Discard all objects, as a new execution environment does."""
    for made in (saved_schedules, target):
        made.cache_clear()
