"""Parameters of query strings: reads their values from text and collects their faults. Pure.

Reading a page of history needs no pydantic: this module must not import the models, which take a third of a cold start.
"""

import re
from collections.abc import Mapping, Sequence

from longshore.domain.times import Moment

LARGEST_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser can represent."""

# The usual spelling of an integer: no plus sign, no leading zero, no fraction, no exponent.
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_NOT_A_TIME = "must be an RFC 3339 time with an offset, such as 2025-01-15T10:30:00Z"


class Parameters:
    """The parameters of a query string. A parameter that is missing has its default.

    Args:
        given: All values by parameter, as the caller sent them. Parameters that nothing reads are ignored.

    Attributes:
        faults: What is wrong, by parameter. A value must not be used if its parameter is at fault.
    """

    def __init__(self, given: Mapping[str, Sequence[str]]) -> None:
        self._given = given
        self.faults: dict[str, str] = {}

    def text(self, name: str) -> str | None:
        """Return the value; None if the parameter is missing. A repeated parameter is at fault."""
        values = self._given.get(name) or ()
        if len(values) > 1:
            self.faults[name] = "must be given once"
            return None
        return values[0] if values else None

    def texts(self, name: str) -> Sequence[str]:
        """Return all values of a parameter that may be repeated."""
        return self._given.get(name) or ()

    def integer(self, name: str, default: int, largest: int) -> int:
        """Return the value, an integer from 1 to `largest`."""
        text = self.text(name)
        if text is None:
            return default
        # Longer numbers are above every limit anyway, and Python refuses to read thousands of digits.
        number = int(text[:30]) if _INTEGER.fullmatch(text) else None
        if number is None:
            self.faults[name] = "must be integer"
        elif number < 1:
            self.faults[name] = "must be >= 1"
        elif number > largest:
            self.faults[name] = f"must be <= {largest}"
        else:
            return number
        return default

    def choice(self, name: str, default: str, choices: Sequence[str]) -> str:
        """Return the value, one of `choices`."""
        text = self.text(name)
        if text is None or text in choices:
            return text or default
        self.faults[name] = f"must be one of: {', '.join(choices)}"
        return default

    def choices(self, name: str, choices: Sequence[str]) -> tuple[str, ...]:
        """Return the values, separated by commas, each one of `choices`; none if the parameter is missing."""
        text = self.text(name)
        if text is None:
            return ()
        values = tuple(text.split(","))
        if all(value in choices for value in values):
            return values
        self.faults[name] = f"must be one or more of, separated by commas: {', '.join(choices)}"
        return ()

    def optional_choice(self, name: str, choices: Sequence[str]) -> str | None:
        """Return the value, one of `choices`; None if the parameter is missing."""
        return self.choice(name, "", choices) or None

    def moment(self, name: str) -> Moment | None:
        """Return the value, a time with an offset; None if the parameter is missing."""
        text = self.text(name)
        if text is None:
            return None
        moment = Moment.parse(text)
        if moment is None:
            self.faults[name] = _NOT_A_TIME
        return moment

    def period(self) -> tuple[Moment | None, Moment | None]:
        """Return the values of `from` and `to`. `from` must not be after `to`."""
        since, until = self.moment("from"), self.moment("to")
        if since is not None and until is not None and since > until:
            self.faults["from"] = "must not be after to"
        return since, until
