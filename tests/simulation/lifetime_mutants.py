"""Mutants without the guards of lifetimes and protections. See `mutants`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from simulation.conditions import without


def claim_ignores_lifetime() -> Any:
    """Stop a container whose lifetime has ended, although it has changed since the container was read.

    Too rare for the simulation: the exploration finds it.
    """
    from longshore.engine import operations

    return mock.patch.object(operations, "_depends_on", return_value=())


@contextmanager
def commit_ignores_lifetime() -> Iterator[None]:
    """Write the key of the index although the lifetime has changed since the container was read."""
    from longshore.aws import updates
    from longshore.aws.writes import Condition

    with mock.patch.object(updates, "same", return_value=Condition("attribute_exists(#status)", {})):
        yield


def change_ignores_container() -> Any:
    """Write the key of the index in a change although the container has changed since it was read."""
    from longshore.aws import details
    from longshore.aws.writes import Condition

    anything = Condition("attribute_exists(#status)", {})
    return mock.patch.multiple(details, same=lambda *_: anything, as_read=lambda *_: anything)


def claim_ignores_protection() -> Any:
    """Claim an operation without the condition that the container is not protected."""
    return without("attribute_not_exists(#protection)")


def protection_ignores_operation() -> Any:
    """Protect a container without the condition that no operation is pending from which it is protected."""
    from longshore.aws import details

    return mock.patch.multiple(details, _NOTHING_ENDS="attribute_exists(#status)", _OPERATIONS={})


@contextmanager
def operations_write_lifetime() -> Iterator[None]:
    """Write the attributes of users in each write of an operation."""
    from longshore.aws.items import CHANGEABLE, LIFETIME
    from longshore.aws.writes import Writes

    original = Writes.update

    def update(self: Writes, after: Any, condition: Any, names: Any = CHANGEABLE) -> Any:
        whole = tuple(dict.fromkeys((*names, *LIFETIME))) if "generation" in names else names
        return original(self, after, condition, whole)

    with mock.patch.object(Writes, "update", update):
        yield


def stop_at_outlives_its_run() -> Any:
    """Keep `stop_at` when a container has stopped."""
    from longshore.aws import store

    return mock.patch.object(store, "STOP_AT", ())


def lifetimes_never_end() -> Any:
    """Let the recovery sweep stop no container."""
    from longshore.domain.models import Container

    return mock.patch.object(Container, "ended_by", return_value=None)


def kept_alive_in_vain() -> Any:
    """Let keep-alive store nothing."""
    from longshore.aws.details import ContainerDetails

    original = ContainerDetails.write

    def write(self: ContainerDetails, container: Any, changes: Any) -> Any:
        return container if "kept_alive_at" in changes else original(self, container, changes)

    return mock.patch.object(ContainerDetails, "write", write)


LIFETIMES: dict[str, Callable[[], Any]] = {
    "commit-ignores-lifetime": commit_ignores_lifetime,
    "change-ignores-container": change_ignores_container,
    "claim-ignores-protection": claim_ignores_protection,
    "protection-ignores-operation": protection_ignores_operation,
    "operations-write-lifetime": operations_write_lifetime,
    "stop-at-outlives-its-run": stop_at_outlives_its_run,
    "lifetimes-never-end": lifetimes_never_end,
    "kept-alive-in-vain": kept_alive_in_vain,
}
