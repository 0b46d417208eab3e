"""Lists of containers: the query, the filters, the order, and the cursor. Pure.

A list is read from an index by project and name. DynamoDB sorts names by their bytes in UTF-8, which is the order of
Python's strings, too. The index does not define the order of equal names; a list sorts equal values by id.

This module must not import the models: a query is parsed before the caller is admitted.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from longshore.domain.lifecycle import Status
from longshore.domain.parameters import LARGEST_INTEGER, Parameters

LARGEST_LIMIT = 100
SORT_COLUMNS = ("name", "status", "created_at", "updated_at", "id")
SORT_ORDERS = ("asc", "desc")
STATUSES = tuple(Status)
LABEL_FORMAT = re.compile(r"[a-z0-9._-]{1,63}(:[\s\S]{0,128})?")

_LONGEST_CURSOR = 4096  # characters; a name has at most 1024 bytes, because it is the key of an index
_LONGEST_NAME = 1024  # bytes
_ID_FORMAT = re.compile(r"[0-9a-f]{24}")


class Entry(NamedTuple):
    """A container in the index. Attributes that a query does not need are empty."""

    id: str
    name: str = ""
    status: str = ""
    created_at: str = ""
    updated_at: str = ""
    labels: Mapping[str, str] = {}


class Position(NamedTuple):
    """The position of an entry in a project's list by name."""

    name: str
    id: str


class ContainersQuery(NamedTuple):
    """The query of a list of containers.

    Attributes:
        project_id: The project; None for the list over all projects of the user.
        page: The page, from 1.
        limit: The largest number of containers in a page.
        sort_by: One of `SORT_COLUMNS`.
        sort_order: One of `SORT_ORDERS`.
        status: The statuses to include; empty for all.
        name: A substring of the name, case-folded; empty for all.
        label: Keys with the value that they must have; None for any value.
        walks: Whether the caller reads the list by cursor instead of by page.
        after: The position after which the cursor's page begins; None for the first page.
    """

    project_id: str | None = None
    page: int = 1
    limit: int = 50
    sort_by: str = "name"
    sort_order: str = "asc"
    status: tuple[str, ...] = ()
    name: str = ""
    label: tuple[tuple[str, str | None], ...] = ()
    walks: bool = False
    after: Position | None = None

    @classmethod
    def parse(
        cls, given: Mapping[str, Sequence[str]], project_id: str | None = None
    ) -> "tuple[ContainersQuery, dict[str, str]]":
        """Read the query from text.

        Args:
            given: All values by parameter.
            project_id: The project in the path; None for the list over all projects.

        Returns:
            The query, and the faults by parameter. The query must not be used if there are faults.
        """
        parameters = Parameters(given)
        query = cls(
            project_id=project_id,
            page=parameters.integer("page", 1, LARGEST_INTEGER),
            limit=parameters.integer("limit", 50, LARGEST_LIMIT),
            sort_by=parameters.choice("sort_by", "name", SORT_COLUMNS),
            sort_order=parameters.choice("sort_order", "asc", SORT_ORDERS),
            status=parameters.choices("status", STATUSES),
            name=(parameters.text("name") or "").casefold(),
            label=_labels(parameters),
        )
        cursor = parameters.text("cursor")
        if cursor is None:
            return query, parameters.faults
        query = query._replace(walks=True)
        if not query.has_cursor or "page" in given:
            parameters.faults["cursor"] = "requires a project and sort_by=name, and excludes filters and page"
        elif cursor:
            query = query._replace(after=_decode(cursor, query))
            if query.after is None:
                parameters.faults["cursor"] = "must be the next_cursor of a page of the same list"
        return query, parameters.faults

    @property
    def ascending(self) -> bool:
        return self.sort_order == "asc"

    @property
    def has_cursor(self) -> bool:
        """Whether this list can be read by cursor."""
        filtered = self.status or self.name or self.label
        return self.project_id is not None and self.sort_by == "name" and not filtered

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes of an entry that the query needs."""
        filters = {"status": self.status, "name": self.name, "labels": self.label}
        return frozenset({"id", self.sort_by, *(attribute for attribute, filtered in filters.items() if filtered)})

    def matches(self, entry: Entry) -> bool:
        """Return whether the filters include the entry."""
        return (
            (not self.status or entry.status in self.status)
            and self.name in entry.name.casefold()
            and all(key in entry.labels and (value is None or entry.labels[key] == value) for key, value in self.label)
        )

    def next_cursor(self, last: Entry) -> str | None:
        """Return the cursor of the page after the entry; None if this list cannot be read by cursor."""
        return _encode(self, Position(last.name, last.id)) if self.has_cursor else None


def arranged(entries: Iterable[Entry], query: ContainersQuery) -> list[Entry]:
    """Return the entries that the filters include, in the order of the query. Equal values are sorted by id."""

    def key(entry: Entry) -> tuple[str, str]:
        return getattr(entry, query.sort_by), entry.id

    return sorted(filter(query.matches, entries), key=key, reverse=not query.ascending)


def _labels(parameters: Parameters) -> tuple[tuple[str, str | None], ...]:
    texts = parameters.texts("label")
    if not all(map(LABEL_FORMAT.fullmatch, texts)):
        parameters.faults["label"] = "must be key or key:value; a key has 1 to 63 characters of a-z, 0-9, . _ -"
        return ()
    parts = (text.partition(":") for text in texts)
    return tuple((key, value if separator else None) for key, separator, value in parts)


def _encode(query: ContainersQuery, position: Position) -> str:
    content = {"project_id": query.project_id, "sort_order": query.sort_order, **position._asdict()}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str, query: ContainersQuery) -> Position | None:
    """Return the position of a cursor; None if `_encode` has not created the cursor for this list."""
    if len(cursor) > _LONGEST_CURSOR:
        return None
    try:
        content: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        name, identity = content["name"], content["id"]
        named = isinstance(name, str) and 1 <= len(name.encode()) <= _LONGEST_NAME
        # Only the exact text that `_encode` returns is accepted: for this project and order, and without additions.
        if named and _ID_FORMAT.fullmatch(identity) and _encode(query, Position(name, identity)) == cursor:
            return Position(name, identity)
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    return None
