"""The items of a table of the simulated DynamoDB."""

from typing import Any

from simulation.expressions import Item, Path


class Items(dict[Path, Item]):
    """Items by key. `partitions` contains the keys of each partition, which makes a Query of a large table fast."""

    def __init__(self) -> None:
        super().__init__()
        self.partitions: dict[str, dict[Path, None]] = {}

    def __setitem__(self, key: Path, item: Item) -> None:
        super().__setitem__(key, item)
        self.partitions.setdefault(key[0], {})[key] = None

    def pop(self, key: Path, *default: Any) -> Any:
        self.partitions.get(key[0], {}).pop(key, None)
        return super().pop(key, *default)

    def clear(self) -> None:
        self.partitions.clear()
        super().clear()

    def of(self, partition: str) -> list[Item]:
        """Return the items of a partition."""
        return [self[key] for key in self.partitions.get(partition, ())]
