"""Changes of a container's name and labels that callers request: the JSON body of PATCH and its faults. Pure."""

from typing import NamedTuple

from longshore.domain.bodies import MOST_FAULTS, Faults, fault, labels_faults, read_object, text_faults
from longshore.domain.roles import Role

LONGEST_NAME = 128


class ContainerChange(NamedTuple):
    """A requested change of a container.

    Attributes:
        name: The new name; None if it is unchanged.
        labels: The new labels, which replace all others; None if they are unchanged.
    """

    name: str | None = None
    labels: dict[str, str] | None = None

    @property
    def needs(self) -> Role:
        """The role that the change needs."""
        return Role.OPERATOR if self.name is None else Role.OWNER

    @classmethod
    def parse(cls, body: str | None) -> "tuple[ContainerChange, Faults]":
        """Read the change from the body of a request.

        Args:
            body: The text of the body; None if there is none.

        Returns:
            The change, and the faults: the JSON pointer of each invalid value, and what is wrong with it. The change
            must not be used if there are faults.
        """
        given, faults = read_object(body)
        if faults:
            return cls(), faults
        if not given:
            return cls(), [fault(f"must have at least one of: {', '.join(cls._fields)}")]
        for key, value in given.items():
            match key:
                case "name":
                    faults += text_faults(value, 1, LONGEST_NAME, key)
                case "labels":
                    faults += _labels_faults(value)
                case _:
                    faults.append(fault(f"is unknown; the keys are: {', '.join(cls._fields)}", key))
        if faults:
            return cls(), faults[:MOST_FAULTS]
        return cls(given.get("name"), (given["labels"] or {}) if "labels" in given else None), []


def _labels_faults(labels: object) -> Faults:
    if labels is None:
        return []
    if not isinstance(labels, dict):
        return [fault("must be object or null", "labels")]
    return labels_faults(labels, "labels")
