"""Export of history rows to a file or to stdout, as CSV or JSON lines, oldest first.

A file is written under the name `FILE.part` and renamed when it is complete, so a file with the wanted name is always
complete. A repeated command continues after the last complete row of `FILE.part`: rows are immutable, and their order
does not change.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache
from io import StringIO
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longshore.aws.attributes import serialize_item

from admin.errors import AdminError
from admin.floors import Floors
from admin.items import plain
from admin.target import Target

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

FIELDS = (
    "id",
    "container_id",
    "project_id",
    "seq",
    "from_status",
    "to_status",
    "transition_time",
    "created_at",
    "duration_ms",
    "triggered_by",
    "metadata",
)
_LONGEST_LINE = 2 * 2**20  # bytes; an item has at most 400 KB, and CSV doubles quotation marks

Row = dict[str, Any]
Step = Callable[[], object]


class Format(StrEnum):
    """The format of an export."""

    CSV = "csv"  # with a header; the metadata is JSON in one column
    JSONL = "jsonl"  # one JSON object per line


@dataclass(frozen=True)
class Selection:
    """The rows of a container, or of all containers while they were in a project."""

    key: str  # container_id or project_id
    value: str


class Rows:
    """Reads the rows of a selection that are shown, by time. Methods raise botocore's errors if DynamoDB fails.

    The rows of a project come from an index that may lag by about a second.
    """

    def __init__(
        self, dynamodb: DynamoDBClient, floors: Floors, selection: Selection, *, containers: str, status_logs: str
    ) -> None:
        self._dynamodb = dynamodb
        self._containers = containers
        self._floors = floors
        self._floor_of = cache(self._read_floor)
        self._keys = {selection.key, "container_id", "transition_time"}
        self._of_project = selection.key == "project_id"
        self._floor = floors.floor({}) if self._of_project else self._floor_of(selection.value)
        self._request: dict[str, Any] = {
            "TableName": status_logs,
            "KeyConditionExpression": "#key = :value AND transition_time >= :floor",
            "ExpressionAttributeNames": {"#key": selection.key},
            "ExpressionAttributeValues": {":value": {"S": selection.value}, ":floor": {"S": self._floor}},
            **({"IndexName": "by-project"} if self._of_project else {"ConsistentRead": True}),
        }

    @classmethod
    def of(cls, target: Target, selection: Selection) -> Rows:
        """Create the reader for a stack."""
        tables = {"containers": target.containers, "status_logs": target.status_logs}
        return cls(target.dynamodb(), target.floors, selection, **tables)

    def count(self) -> int:
        """Return the number of rows of a container, or of a project at least 1 if it has rows."""
        ends = [
            self._dynamodb.query(**self._request, ScanIndexForward=forward, Limit=1)["Items"]
            for forward in (True, False)
        ]
        first, last = (plain(items[0])["seq"] if items else 1 for items in ends)
        return max(int(last - first), 0) + 1 if ends[0] else 0

    def after(self, row: Row | None) -> Iterator[Row]:
        """Yield the rows after a row, or all rows if it is None."""
        start: Any = {}
        if row is not None and row["transition_time"] >= self._floor:
            start = {"ExclusiveStartKey": serialize_item({name: row[name] for name in self._keys})}
        while True:
            answer = self._dynamodb.query(**self._request, **start)
            rows = map(plain, answer["Items"])
            yield from (row for row in rows if not self._of_project or self._is_shown(row))
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _is_shown(self, row: Row) -> bool:
        return bool(row["transition_time"] >= self._floor_of(row["container_id"]))

    def _read_floor(self, container_id: str) -> str:
        answer = self._dynamodb.get_item(
            TableName=self._containers,
            Key={"id": {"S": container_id}},
            ProjectionExpression="history_retention, history_floor",
            ConsistentRead=True,
        )
        return self._floors.floor(plain(answer.get("Item", {})))


def to_stdout(rows: Rows, form: Format, step: Step) -> int:
    """Print the rows, and return their number."""
    count = 0
    if form is Format.CSV:
        sys.stdout.write(_csv(FIELDS))
    for row in rows.after(None):
        sys.stdout.write(_line(row, form))
        count += 1
        step()
    sys.stdout.flush()
    return count


def to_file(rows: Rows, selection: Selection, form: Format, path: Path, step: Step) -> tuple[int, bool]:
    """Write the rows to a file.

    Returns:
        The number of rows that were written now, and whether they continue an incomplete export.

    Raises:
        AdminError: The file exists, cannot be written, or its incomplete part is not of this export.
    """
    part = part_of(path)
    if path.exists():
        raise AdminError(f"The file {path} exists: choose another file.")
    try:
        last, continues = _continued(part, selection, form)
        count = 0
        with part.open("a", encoding="utf-8", newline="") as file:
            if form is Format.CSV and not continues:
                file.write(_csv(FIELDS))
            for row in rows.after(last):
                file.write(_line(row, form))
                count += 1
                step()
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError as error:
        raise AdminError(f"The file {part} cannot be written: {error.strerror}.") from None
    return count, continues


def part_of(path: Path) -> Path:
    """Return the path of an incomplete export."""
    return path.with_name(f"{path.name}.part")


def _continued(part: Path, selection: Selection, form: Format) -> tuple[Row | None, bool]:
    """Remove an incomplete line at the end of an incomplete export.

    Returns:
        The last row that is complete, or None if there is none, and whether the file has complete lines.
    """
    if not part.exists():
        return None, False
    with part.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, size - _LONGEST_LINE))
        tail = file.read()
        complete = tail.rfind(b"\n") + 1
        file.truncate(start + complete)
        file.seek(0)
        header = file.readline().decode(errors="replace")
    lines = tail[:complete].decode(errors="replace").splitlines()
    if not lines:
        return None, False
    if form is Format.CSV and header == _csv(FIELDS) == f"{lines[-1]}\n":
        return None, True
    try:
        row: Row = loads(lines[-1]) if form is Format.JSONL else _row_of_csv(header, lines[-1])
        matches = row[selection.key] == selection.value and set(row) == set(FIELDS)
    except (ValueError, KeyError, TypeError):
        matches = False
    if not matches:
        raise AdminError(f"The file {part} is not a part of this export: delete it, or choose another file.")
    return row, True


def _row_of_csv(header: str, line: str) -> Row:
    names, values = csv.reader([header, line], strict=True)
    return dict(zip(names, values, strict=True))


def _line(row: Row, form: Format) -> str:
    values = {name: row.get(name) for name in FIELDS}
    if form is Format.JSONL:
        return f"{_json(values)}\n"
    metadata = values["metadata"]
    return _csv([*list(values.values())[:-1], None if metadata is None else _json(metadata)])


def _csv(values: Any) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _json(value: Any) -> str:
    # The default escapes all characters outside of ASCII, so a row is always one line.
    return dumps(value, separators=(",", ":"), default=_number)


def _number(value: Any) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")
