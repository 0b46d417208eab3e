"""The list of a user's projects."""

from typing import Any

from longshore.aws.access import Access
from longshore.engine.concurrency import together


class ProjectList:
    """Reads the projects that a user is a member of."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def of_user(self, user_id: str) -> list[dict[str, Any]]:
        """Read the projects, sorted by id. The user's grants and the names of all projects are read at the same time.

        Returns:
            JSON values in the shape of `ProjectView`.

        Raises:
            AccountBannedError: The user is banned.
            ExternalServiceError: DynamoDB failed.
        """
        grants, names = together(lambda: self._access.all_grants(user_id), self._access.project_names)
        projects = self._access.admit_to_list(grants)
        return [
            {"id": project_id, "name": names.get(project_id), "role": role.value}
            for project_id, role in projects.items()
        ]
