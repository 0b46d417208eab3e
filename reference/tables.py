"""Tables in the texts of the OpenAPI document: the error codes, and the operations that each status allows."""

from longshore.domain.lifecycle import Platform, Status, allowed_operations

from reference.catalogue import CATALOGUE


def codes() -> str:
    """Return the table of error codes."""
    rows = [f"| `{entry.code}` | {entry.status} | {entry.title} |" for entry in CATALOGUE.values()]
    return "\n".join(["| code | status | title |", "|---|---|---|", *rows])


def allowed() -> str:
    """Return the table of allowed operations."""
    rows = []
    for status in Status:
        operations = allowed_operations(status, None, Platform.HOST)
        rows.append(f"| `{status}` | {', '.join(f'`{operation}`' for operation in operations) or 'nothing'} |")
    return "\n".join(["| status | allowed |", "|---|---|", *rows])
