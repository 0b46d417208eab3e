"""The list of a user's projects."""

from typing import Any

from longshore.aws.access import Access


class ProjectList:
    """Reads the projects that a user is a member of."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def of_user(self, user_id: str) -> list[dict[str, Any]]:
        """Read the projects, sorted by id.

        Returns:
            JSON values in the shape of `ProjectView`.

        Raises:
            AccountBannedError: The user is banned.
            ExternalServiceError: DynamoDB failed.
        """
        projects = self._access.admit_to_list(self._access.all_grants(user_id))
        return [{"id": project_id, "name": None, "role": role.value} for project_id, role in projects.items()]
