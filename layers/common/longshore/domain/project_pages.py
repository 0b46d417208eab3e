"""Pages of a project's history: the query, and the cursor that continues it. Pure.

The rows of all containers of a project are ordered by time, then by container. A cursor is the position of the last row
that was read, so rows that are added meanwhile neither move nor hide other rows.

Reading a page needs no pydantic: this module must not import the models, which take a third of a cold start.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from longshore.domain.lifecycle import Status
from longshore.domain.pages import LARGEST_LIMIT, SORT_ORDERS
from longshore.domain.parameters import Parameters
from longshore.domain.times import EARLIEST, LATEST, Moment

TRIGGERS = ("user", "schedule", "system", "recovery")
"""The values of `Trigger`, which is part of the models."""

LONGEST_ACTOR = 255

_READS_WITH_FILTER = (300, 1000, 1000)
"""Rows that each read of a page with a filter examines. Together they limit the work per request."""

_ID = re.compile(r"[0-9a-f]{24}")
_CURSOR = re.compile(
    r"1 (?P<project>[0-9a-f]{24}) (?P<order>asc|desc) "
    r"(?P<time>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z) (?P<container>[0-9a-f]{24})",
    re.ASCII,
)
_NOT_A_CURSOR = "must be the next_cursor of a response for the same project and sort_order"


class Position(NamedTuple):
    """The position of a row in a project's history."""

    transition_time: str
    container_id: str


class ProjectLogsQuery(NamedTuple):
    """The query of GET /projects/{project_id}/status-logs.

    Attributes:
        after: The position after which the page begins; None: the first page.
        since: The parameter `from`.
        until: The parameter `to`.
        floor: The earliest time of the rows that are shown.
    """

    project_id: str
    limit: int = 50
    sort_order: str = "desc"
    after: Position | None = None
    since: Moment | None = None
    until: Moment | None = None
    to_status: str | None = None
    triggered_by: str | None = None
    actor: str | None = None
    container_id: str | None = None
    floor: str = EARLIEST

    @classmethod
    def parse(cls, project_id: str, given: Mapping[str, Sequence[str]]) -> "tuple[ProjectLogsQuery, dict[str, str]]":
        """Read the query from text.

        Args:
            project_id: The project in the path.
            given: All values by parameter.

        Returns:
            The query, and the faults by parameter. The query must not be used if there are faults.
        """
        parameters = Parameters(given)
        since, until = parameters.period()
        query = cls(
            project_id=project_id,
            limit=parameters.integer("limit", 50, LARGEST_LIMIT),
            sort_order=parameters.choice("sort_order", "desc", SORT_ORDERS),
            since=since,
            until=until,
            to_status=parameters.optional_choice("to_status", list(Status)),
            triggered_by=parameters.optional_choice("triggered_by", TRIGGERS),
            actor=parameters.text("actor"),
            container_id=parameters.text("container_id"),
        )
        faults = parameters.faults
        if query.actor is not None and not 1 <= len(query.actor) <= LONGEST_ACTOR:
            faults["actor"] = f"must have 1 to {LONGEST_ACTOR} characters"
        if query.container_id is not None and not _ID.fullmatch(query.container_id):
            faults["container_id"] = "must be 24 characters of 0-9a-f"
        cursor = parameters.text("cursor")
        if cursor and "sort_order" not in faults:
            query = query._replace(after=_position(cursor, query))
            if query.after is None:
                faults["cursor"] = _NOT_A_CURSOR
        return query, faults

    @property
    def ascending(self) -> bool:
        return self.sort_order == "asc"

    @property
    def low(self) -> str:
        """The earliest time of the rows."""
        return max(self.since.ceiling() if self.since else EARLIEST, self.floor)

    @property
    def high(self) -> str:
        """The latest time of the rows."""
        return self.until.floor() if self.until else LATEST

    @property
    def start(self) -> Position | None:
        """The position after which the rows in the range of time begin; None: they begin with the range."""
        if self.after is None or not self.low <= self.after.transition_time <= self.high:
            return None
        return self.after

    @property
    def is_over(self) -> bool:
        """Whether no row can match, because the range of time is empty or the cursor is behind it."""
        if self.low > self.high:
            return True
        if self.after is None:
            return False
        at = self.after.transition_time
        return at > self.high if self.ascending else at < self.low

    @property
    def reads(self) -> tuple[int, ...]:
        """The number of rows that each read of the page examines at most.

        Without a filter, one row more than the page has shows whether there is a next page.
        """
        if self.to_status is None and self.triggered_by is None and self.actor is None:
            return (self.limit + 1,)
        return _READS_WITH_FILTER

    def cursor(self, after: Position) -> str:
        """Return the cursor that continues the query after a row."""
        text = f"1 {self.project_id} {self.sort_order} {after.transition_time} {after.container_id}"
        return base64.urlsafe_b64encode(text.encode()).decode()


def _position(cursor: str, query: ProjectLogsQuery) -> Position | None:
    """Return the position that the cursor states, or None if it is malformed or belongs to another query."""
    try:
        text = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True).decode("ascii")
    except (UnicodeError, binascii.Error):
        return None
    match = _CURSOR.fullmatch(text)
    if match is None or Moment.parse(match["time"]) is None:
        return None
    position = Position(match["time"], match["container"])
    # Only the exact text that `cursor` returns for this project and order is accepted.
    return position if query.cursor(position) == cursor else None
