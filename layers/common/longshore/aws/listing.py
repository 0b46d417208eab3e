"""Lists of containers in DynamoDB: the entries of the index `by-project`, and the items of the containers in a page.

The index is eventually consistent. While a container is renamed or moved, the index may have two entries of it or none.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from longshore.aws.batches import read_containers
from longshore.aws.new_indexes import query
from longshore.aws.transactions import call
from longshore.domain.clock import Clock
from longshore.domain.errors import UnreadableItemError
from longshore.domain.listing import Entry, Position
from longshore.domain.models import Container

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_INDEX = "by-project"


class ContainerListing:
    """Reads the entries of projects, and the containers of a page.

    Args:
        dynamodb: The client.
        containers: The name of the containers table.
        clock: Waits before keys that DynamoDB has not processed are requested again.
        on_unreadable: Is called for each item that cannot be read, with the container's id and the error.

    Raises:
        StoreError: Every method: DynamoDB failed after retries, or the index does not exist yet.
    """

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        containers: str,
        clock: Clock,
        on_unreadable: Callable[[str, UnreadableItemError], None],
    ) -> None:
        self._dynamodb = dynamodb
        self._containers = containers
        self._clock = clock
        self._on_unreadable = on_unreadable

    def entries(self, project_id: str, attributes: Collection[str]) -> list[Entry]:
        """Read all entries of a project, in no particular order. One Query reads about 5,000 entries.

        Args:
            project_id: The project.
            attributes: The attributes to read. The others are empty.
        """
        found = self._query(attributes, KeyConditionExpression="project_id = :project", values={":project": project_id})
        return list({entry.id: entry for entry in found}.values())

    def entries_after(self, project_id: str, after: Position | None, limit: int, *, ascending: bool) -> list[Entry]:
        """Read the first entries after a position, in the order of name and id, with one Query.

        The index does not sort entries with equal names by id. Therefore all entries with the same name are read
        together, which takes more Queries if there are more of them than fit into a page.

        Args:
            project_id: The project.
            after: The position; None to begin with the first entry.
            limit: The largest number of entries.
            ascending: Whether to read in ascending order.
        """
        condition, values = "project_id = :project", {":project": project_id}
        if after is not None:
            condition += f" AND #name {'>=' if ascending else '<='} :name"
            values[":name"] = after.name
        found: dict[str, Entry] = {}
        name = ""
        entries = self._query(
            {"id", "name"},
            KeyConditionExpression=condition,
            values=values,
            ScanIndexForward=ascending,
            # The entry at the position itself, and the first entry with another name than the last one.
            Limit=limit + 2,
        )
        for entry in entries:
            if len(found) >= limit and entry.name != name:
                break
            position = Position(entry.name, entry.id)
            if after is None or (position > after if ascending else position < after):
                found[entry.id] = entry
                name = entry.name
        return sorted(found.values(), key=lambda entry: (entry.name, entry.id), reverse=not ascending)[:limit]

    def containers(self, ids: Collection[str]) -> dict[str, Container]:
        """Read up to 100 containers consistently. Those that do not exist or cannot be read are left out."""
        found: dict[str, Container] = {}
        for identity, read in read_containers(self._dynamodb, self._containers, self._clock, ids).items():
            if isinstance(read, UnreadableItemError):
                self._on_unreadable(identity, read)
            else:
                found[identity] = read
        return found

    def _query(self, attributes: Collection[str], *, values: Mapping[str, str], **request: Any) -> Iterator[Entry]:
        """Read the index, one page at a time. A limit applies to the first page: later ones have up to 1 MB."""
        names = sorted({*attributes, "name"})
        request |= {
            "TableName": self._containers,
            "IndexName": _INDEX,
            "ProjectionExpression": ", ".join(f"#{name}" for name in names),
            "ExpressionAttributeNames": {f"#{name}": name for name in names},
            "ExpressionAttributeValues": {name: {"S": value} for name, value in values.items()},
        }
        while True:
            answer = call(partial(query, self._dynamodb, "containers", request))
            yield from map(_entry, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request.pop("Limit", None)
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _entry(item: Mapping[str, Any]) -> Entry:
    """Convert an item of the index. Attributes of a damaged item are empty."""

    def text(name: str) -> str:
        return str(item.get(name, {}).get("S", ""))

    labels = item.get("labels", {}).get("M", {})
    return Entry(
        id=text("id"),
        name=text("name"),
        status=text("status"),
        created_at=text("created_at"),
        updated_at=text("updated_at"),
        labels={key: value["S"] for key, value in labels.items() if "S" in value},
    )
