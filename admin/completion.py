"""Completion of history rows that Longshore 0.1 wrote: their counters and their project.

Rows are completed while the service runs. Each is written on the condition that it is as it was read, and only the
missing attributes are written. The counters come from counting the rows, so a history that is not a chain is not
completed.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from longshore.aws.attributes import serialize_item
from longshore.aws.items import row_counters
from longshore.domain.pages import rank_key
from longshore.domain.ranges import NO_STATUS, Counts

from admin.floors import Floors
from admin.items import plain
from admin.target import Target

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

ADDED = ("to_n", "from_n", "project_id")
"""The attributes that rows of Longshore 0.1 do not have."""

_READ = "container_id, transition_time, seq, to_status, from_status, to_rank, from_rank, to_n, from_n, project_id"
_WORKERS = 8
_WAITING = 100  # writes that have begun or wait for a worker

Row = dict[str, Any]


@dataclass
class Completed:
    """The result for a container.

    Attributes:
        rows: The number of its rows that are complete.
        completed: The number of rows that were completed now.
        problem: Why not all rows are complete; None if they are.
    """

    rows: int = 0
    completed: int = 0
    problem: str | None = None


class Completion:
    """Completes rows. Methods raise botocore's errors if DynamoDB fails; completed rows are kept."""

    def __init__(self, dynamodb: DynamoDBClient, floors: Floors, *, containers: str, status_logs: str) -> None:
        self._dynamodb = dynamodb
        self._floors = floors
        self._containers = containers
        self._status_logs = status_logs

    @classmethod
    def of(cls, target: Target) -> Completion:
        """Create the completion for a stack."""
        return cls(target.dynamodb(), target.floors, containers=target.containers, status_logs=target.status_logs)

    def complete(self, container_id: str, step: Callable[[], object] = lambda: None) -> Completed:
        """Complete all rows of a container that are shown.

        A row without a project gets the project of the next row that has one, or else the container's project.

        Args:
            container_id: The container.
            step: Called for each row that was completed.
        """
        item = self._item(container_id)
        if item is None:
            return Completed(problem="the container does not exist")
        floor = self._floors.floor(item)
        found = Completed()
        projects = self._projects(item, floor, found)
        if not projects:
            return found
        before = self._floors.before(item, floor)
        found = Completed()
        waiting: deque[Future[bool]] = deque()

        def finish(most: int) -> None:
            while len(waiting) > most:
                if waiting.popleft().result():
                    found.completed += 1
                    step()
                else:
                    found.problem = "a row has changed"

        with ThreadPoolExecutor(_WORKERS) as executor:
            for row, counts in self._counted(container_id, found, floor, before):
                while row["seq"] > projects[0][0]:
                    projects.popleft()
                if not is_complete(row):
                    waiting.append(executor.submit(self._write, row, counts, projects[0][1]))
                    finish(_WAITING)
            finish(0)
        return found

    def _item(self, container_id: str) -> Row | None:
        answer = self._dynamodb.get_item(
            TableName=self._containers, Key={"id": {"S": container_id}}, ConsistentRead=True
        )
        return plain(answer["Item"]) if "Item" in answer else None

    def _projects(self, item: Row, floor: str, found: Completed) -> deque[tuple[float, str]]:
        """Count the rows, and return the project of incomplete rows: up to which number it applies, and its id.

        The last entry applies to all further rows. There are no entries if all rows are complete.
        """
        projects: deque[tuple[float, str]] = deque()
        incomplete: int | None = None
        for row in self._floors.rows(item["id"], floor, _READ):
            found.rows += 1
            if "project_id" in row and incomplete is not None:
                projects.append((incomplete, row["project_id"]))
                incomplete = None
            if not is_complete(row):
                incomplete = row["seq"]
        if projects or incomplete is not None:
            projects.append((math.inf, item["project_id"]))
        return projects

    def _counted(self, container_id: str, found: Completed, floor: str, before: Counts) -> Iterator[tuple[Row, Counts]]:
        """Yield the rows with the counters after each, until a row does not agree with them."""
        to_counts, from_counts = Counter(before.to_counts), Counter(before.from_counts)
        for row in self._floors.rows(container_id, floor, _READ):
            count = before.log_count + found.rows + 1
            from_name = row.get("from_status") or NO_STATUS
            to_counts[row["to_status"]] += 1
            from_counts[from_name] += 1
            place = (
                count,
                rank_key(row["to_status"], to_counts[row["to_status"]]),
                rank_key(row.get("from_status"), from_counts[from_name]),
            )
            if (row["seq"], row["to_rank"], row["from_rank"]) != place:
                found.problem = f"the row at {row['transition_time']} does not follow from the rows before: run doctor"
                return
            found.rows += 1
            yield row, Counts(count, dict(to_counts), dict(from_counts))

    def _write(self, row: Row, counts: Counts, project_id: str) -> bool:
        """Add the missing attributes of a row. Return whether the row is as it was read."""
        added = row_counters(counts) | {"project_id": project_id}
        read = {name: row[name] for name in ("seq", "to_rank", "from_rank")}
        try:
            self._dynamodb.update_item(
                TableName=self._status_logs,
                Key=serialize_item({name: row[name] for name in ("container_id", "transition_time")}),
                UpdateExpression="SET " + ", ".join(f"{name} = if_not_exists({name}, :{name})" for name in added),
                ConditionExpression=" AND ".join(f"{name} = :{name}" for name in read),
                ExpressionAttributeValues=serialize_item({f":{name}": value for name, value in (added | read).items()}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True


def is_complete(row: Row) -> bool:
    """Return whether a row has all attributes that Longshore 0.1 did not write."""
    return set(ADDED) <= row.keys()
