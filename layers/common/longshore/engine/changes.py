"""Changes of a container's name and labels by a member of its project."""

from longshore.aws.access import Access
from longshore.aws.details import ContainerDetails
from longshore.aws.store import Store
from longshore.domain.changes import ContainerChange
from longshore.domain.errors import ExternalServiceError
from longshore.domain.models import Container
from longshore.engine.concurrency import together

_TRIES = 3


class ContainerChanges:
    """Changes containers for a user."""

    def __init__(self, store: Store, details: ContainerDetails, access: Access) -> None:
        self._store = store
        self._details = details
        self._access = access

    def apply(self, user_id: str, container_id: str, change: ContainerChange) -> Container:
        """Change a container, whatever its status and also while an operation is pending.

        The write requires that the container still belongs to the project for which the user's role was checked. If it
        has been moved, the role in its new project is checked, with the grants as first read.

        Returns:
            The container after the change.

        Raises:
            LongshoreError: What `Access.admit` raises.
            ExternalServiceError: DynamoDB failed, and the change may have been written; or the container was moved to
                other projects repeatedly, and nothing was written.
        """
        container, grants = together(lambda: self._store.container(container_id), lambda: self._access.grants(user_id))
        for _ in range(_TRIES):
            admitted = self._access.admit(grants, container, needs=change.needs)
            written = self._details.write(container_id, admitted.project_id, change)
            if isinstance(written, Container):
                return written
            container = written.current
        raise ExternalServiceError("The container was moved to another project meanwhile")
