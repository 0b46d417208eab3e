"""The history of a project: rows of all its containers by time, from an index that is eventually consistent."""

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from longshore.aws import new_indexes
from longshore.aws.attributes import deserialize_item
from longshore.aws.history_pages import Item, shown
from longshore.aws.transactions import StoreError, call
from longshore.domain.clock import Clock
from longshore.domain.project_pages import Position, ProjectLogsQuery
from longshore.domain.retention import floor_of
from longshore.domain.times import EARLIEST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from types_boto3_dynamodb import DynamoDBClient

_INDEX = "by-project"
_RETENTION = ("history_retention", "history_floor")
_NAME_TRIES = 5
_NAME_PAUSE = 0.05  # seconds; doubled after each try

_FILTERS = {
    "to_status": ("#to_status", {"#to_status": "to_status"}),
    "triggered_by": ("#triggered_by", {"#triggered_by": "triggered_by"}),
    "actor": ("#metadata.#actor", {"#metadata": "metadata", "#actor": "actor"}),
}
"""The path of each filter's attribute in a row, and the names in the path."""


class Part(NamedTuple):
    """The result of a read.

    Attributes:
        rows: The matching rows in order, as JSON values in the shape of `StatusLog`.
        last: The position of the last row that was examined; None: there are no more rows.
    """

    rows: list[Item]
    last: Position | None


class Found(NamedTuple):
    """A container of rows.

    Attributes:
        name: Its name; None if it is not in the project.
        floor: The earliest time of its rows that are shown, apart from the stack's retention.
    """

    name: str | None
    floor: str


class ProjectHistory:
    """Reads the rows that were written under a project, and their containers."""

    def __init__(self, dynamodb: "DynamoDBClient", clock: Clock, *, containers: str, status_logs: str) -> None:
        self._dynamodb = dynamodb
        self._clock = clock
        self._containers = containers
        self._status_logs = status_logs

    def rows(self, query: ProjectLogsQuery, after: Position | None, most: int) -> Part:
        """Read rows with one Query. The rows of a single container come from the table, all others from the index.

        Args:
            query: The query. Its range of time must not be empty.
            after: The position after which the rows begin, within the range of time; None: they begin with the range.
            most: The number of rows to examine at most.

        Raises:
            StoreError: DynamoDB failed, or a deployment is still creating the index.
        """
        names, filters = {"#key": "project_id"}, []
        # DynamoDB Local refuses a start key on the last value of a range, although other rows may have the same value.
        # These bounds include no other times, but are not themselves times of rows.
        values = {":key": query.project_id, ":low": query.low.removesuffix("Z"), ":high": f"{query.high}~"}
        start = {"project_id": query.project_id, "container_id": after.container_id if after else ""}
        more: dict[str, Any] = {"IndexName": _INDEX}
        if query.container_id is not None:
            # The container may have been in other projects.
            names, filters = {"#key": "container_id", "#project": "project_id"}, ["#project = :project"]
            values |= {":key": query.container_id, ":project": query.project_id}
            start, more = {"container_id": query.container_id}, {}
        for name, (path, used) in _FILTERS.items():
            wanted = getattr(query, name)
            if wanted is not None:
                filters.append(f"{path} = :{name}")
                names |= used
                values[f":{name}"] = wanted
        if filters:
            more["FilterExpression"] = " AND ".join(filters)
        if after is not None:
            more["ExclusiveStartKey"] = _strings(start | {"transition_time": after.transition_time})
        request = more | {
            "TableName": self._status_logs,
            "KeyConditionExpression": "#key = :key AND transition_time BETWEEN :low AND :high",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": _strings(values),
            "ScanIndexForward": query.ascending,
            "Limit": most,
        }
        answer = call(partial(new_indexes.query, self._dynamodb, "project histories", request))
        last = answer.get("LastEvaluatedKey")
        return Part(
            [shown(item) for item in answer["Items"]],
            Position(last["transition_time"]["S"], last["container_id"]["S"]) if last else None,
        )

    def containers(self, project_id: str, container_ids: "Iterable[str]") -> dict[str, Found]:
        """Read up to 100 containers. One read.

        Containers that have been deleted are left out. A damaged item counts as a container without name and floor.

        Raises:
            StoreError: DynamoDB failed, or throttled some of the reads for more than a second.
        """
        found: dict[str, Found] = {}
        keys = [_strings({"id": container_id}) for container_id in sorted(set(container_ids))]
        now = self._clock.now()
        for attempt in range(_NAME_TRIES):
            if not keys:
                return found
            if attempt:
                self._clock.sleep(_NAME_PAUSE * 2**attempt)
            wanted: Any = {
                self._containers: {
                    "Keys": keys,
                    "ProjectionExpression": "id, #name, project_id, history_retention, history_floor",
                    "ExpressionAttributeNames": {"#name": "name"},
                    "ConsistentRead": True,
                }
            }
            answer: Any = call(partial(self._dynamodb.batch_get_item, RequestItems=wanted))
            for item in answer["Responses"].get(self._containers, []):
                found[item["id"]["S"]] = Found(_name(item, project_id), _floor(item, now))
            keys = answer.get("UnprocessedKeys", {}).get(self._containers, {}).get("Keys", [])
        if keys:
            raise StoreError("The database is busy")
        return found


def _name(item: Item, project_id: str) -> str | None:
    name: str | None = item.get("name", {}).get("S")
    return name if item.get("project_id") == {"S": project_id} else None


def _floor(item: Item, now: datetime) -> str:
    try:
        return floor_of(deserialize_item({name: item[name] for name in _RETENTION if name in item}), now, 0)
    except (AttributeError, TypeError, ValueError):
        return EARLIEST


def _strings(values: dict[str, str]) -> dict[str, Any]:
    return {name: {"S": value} for name, value in values.items()}
