"""Roles of the members of a project."""

from enum import StrEnum


class Role(StrEnum):
    """What a member of a project may do. Each role also permits what the roles before it permit."""

    VIEWER = "viewer"  # read containers and their history
    OPERATOR = "operator"  # operate containers and change their labels
    OWNER = "owner"  # rename containers

    def includes(self, role: "Role") -> bool:
        """Check whether this role permits everything that the given role permits."""
        roles = list(Role)
        return roles.index(self) >= roles.index(role)
