"""Removal of clauses from the conditions of writes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock


@contextmanager
def without(*clauses: str) -> Iterator[None]:
    """Remove clauses from the conditions of all writes to a container."""
    from longshore.aws.writes import Condition, Writes

    original = Writes.update

    def update(self: Writes, after: Any, condition: Condition, *names: Any) -> Any:
        kept = [clause for clause in condition.expression.split(" AND ") if clause not in clauses]
        used = re.findall(r":\w+", " ".join(kept))
        if not kept:
            kept = ["attribute_exists(#status)"]
        values = {name: value for name, value in condition.values.items() if name in used}
        return original(self, after, Condition(" AND ".join(kept), values), *names)

    with mock.patch.object(Writes, "update", update):
        yield
