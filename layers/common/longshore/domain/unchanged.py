"""A marker for values that a request does not change, where None means that the value is removed."""

from enum import Enum
from typing import Final


class Unchanged(Enum):
    """The type of `UNCHANGED`."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
