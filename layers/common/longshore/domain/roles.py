"""Roles of the members of a project."""

from enum import StrEnum


class Role(StrEnum):
    """What a member of a project may do: a viewer reads; an operator and an owner also operate containers."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    OWNER = "owner"
