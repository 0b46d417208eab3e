"""The form in which a pending operation is stored: all attributes in one map, as version 0.2 reads them.

In the code, an operation has a state for each of its parts (see `domain/models.py`), so that no part can have the
attributes of another. Attributes with their default value are not stored.

    stored                                    in the code
    client_token, event_acted                 launch       only a step that runs a task
    command_number, command_expires_at,       command
    sent_command, giving_up(_since)
    absent, stored, deployment, calls, called service      only a service's container
    newest_deployment, own_deployment
    idempotency_id, idempotency_expires_at,   idempotency  only a request with an Idempotency-Key
    answered
"""

from collections.abc import Mapping
from typing import Any

Item = dict[str, Any]

_LAUNCH = {"client_token": "client_token", "event_acted": "event_acted"}
_COMMAND = {"command_number": "number", "command_expires_at": "expires_at", "sent_command": "sent"}
_GIVEN_UP = {"giving_up": "reason", "giving_up_since": "since"}
_SERVICE = {name: name for name in ("absent", "stored", "deployment", "calls", "called")}
_SERVICE |= {"newest_deployment": "before", "own_deployment": "started"}
_IDEMPOTENCY = {"idempotency_id": "id", "idempotency_expires_at": "expires_at", "answered": "answered"}
_PARTS = ("launch", "command", "service", "idempotency")
_ALL = {*_LAUNCH, *_COMMAND, *_GIVEN_UP, *_SERVICE, *_IDEMPOTENCY}


def stored_operation(operation: Mapping[str, Any]) -> Item:
    """Return a pending operation with plain values as it is stored."""
    stored = {name: value for name, value in operation.items() if name not in _PARTS}
    command = dict(operation.get("command", {}))
    parts = (
        (operation.get("launch"), _LAUNCH),
        (command, _COMMAND),
        (command.get("given_up"), _GIVEN_UP),
        (operation.get("service"), _SERVICE),
        (operation.get("idempotency"), _IDEMPOTENCY),
    )
    for part, names in parts:
        stored |= {name: part[own] for name, own in names.items() if part and own in part}
    return stored


def read_operation(stored: Mapping[str, Any], *, of_service: bool) -> Item:
    """Return a stored pending operation with plain values as the code reads it. Keeps unknown attributes.

    Args:
        stored: The operation as stored.
        of_service: Whether it is the operation of a service's container.
    """
    operation = {name: value for name, value in stored.items() if name not in _ALL}
    command = _part(stored, _COMMAND)
    if "giving_up" in stored:
        command["given_up"] = {"since": stored["started_at"]} | _part(stored, _GIVEN_UP)
    operation["command"] = command
    if of_service:
        operation["service"] = _part(stored, _SERVICE)
    elif stored["step"] == "start":
        operation["launch"] = _part(stored, _LAUNCH)
    if "idempotency_id" in stored:
        operation["idempotency"] = _part(stored, _IDEMPOTENCY)
    return operation


def _part(stored: Mapping[str, Any], names: Mapping[str, str]) -> Item:
    return {own: stored[name] for name, own in names.items() if name in stored}
