"""grant, revoke, ban and unban: changes take effect with the next request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from api_client import Api

from local.emulator import Emulator
from local.seed import PROJECT, container_id

STOPPED = container_id(11)


def code(api: Api, user: str, operation: str | None = None) -> tuple[int, str | None]:
    answer = api.post(STOPPED, operation, user) if operation else api.get(STOPPED, user)
    return answer.status_code, answer.json().get("code")


def test_a_role_is_granted_changed_and_revoked(run: Any, api: Api) -> None:
    assert code(api, "nadia") == (404, "CONTAINER_NOT_FOUND")
    granted = run("grant", "nadia", PROJECT, "viewer")
    assert (granted.code, granted.err) == (0, f"nadia is viewer of {PROJECT}.\n")
    assert code(api, "nadia") == (200, None)
    assert code(api, "nadia", "pause") == (403, "INSUFFICIENT_PERMISSIONS")
    assert run("grant", "nadia", PROJECT, "operator").err == f"nadia is operator of {PROJECT}, and was viewer.\n"
    assert run("grant", "nadia", PROJECT, "operator").err == f"nadia is operator of {PROJECT}.\n"
    assert code(api, "nadia", "pause") == (400, "OPERATION_STATE_CONFLICT")
    assert run("revoke", "nadia", PROJECT).err == f"nadia has no role in {PROJECT} any more.\n"
    again = run("revoke", "nadia", PROJECT)
    assert (again.code, again.err) == (0, f"nadia has no role in {PROJECT} (and had none before).\n")
    assert code(api, "nadia") == (404, "CONTAINER_NOT_FOUND")


def test_a_ban_does_not_change_roles(run: Any, api: Api) -> None:
    run("grant", "omar", PROJECT, "owner")
    for _ in range(2):
        assert run("ban", "omar").code == 0
    assert code(api, "omar") == (403, "ACCOUNT_BANNED")
    assert run("unban", "omar").err == "omar is not banned any more.\n"
    assert run("unban", "omar").err == "omar is not banned (and was not banned before).\n"
    assert code(api, "omar") == (200, None)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["grant", "nadia", "nope", "viewer"], 1, "The project must be 24 characters of 0-9a-f, not 'nope'."),
        (["grant", "nadia", PROJECT.upper().replace("5", "A"), "viewer"], 1, "The project must be 24 characters"),
        (["grant", "", PROJECT, "viewer"], 1, "The user must be the sub claim"),
        (["grant", "a\nb", PROJECT, "viewer"], 1, "The user must be the sub claim"),
        (["ban", " nadia"], 1, "The user must be the sub claim"),
        (["unban", "n" * 257], 1, "The user must be the sub claim"),
        (["revoke", "nadia", ""], 1, "The project must be"),
        (["grant", "nadia", PROJECT, "admin"], 2, "'admin' is not one of"),
        (["grant", "nadia", PROJECT], 2, "Missing argument"),
    ],
)
def test_invalid_arguments_change_nothing(
    run: Any, contents: Callable[[], Any], arguments: list[str], exit_code: int, message: str
) -> None:
    before = contents()
    refused = run(*arguments)
    assert refused.code == exit_code
    assert message in refused.err
    assert contents() == before


def test_a_lost_response_is_retried(run: Any, api: Api, emulator: Emulator) -> None:
    emulator.faults.add("dynamodb", "PutItem", "drop", after_effect=True)
    assert run("grant", "pia", PROJECT, "viewer").code == 0
    assert code(api, "pia") == (200, None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("ExpiredTokenException", "error: Your AWS credentials have expired: sign in again.\n"),
        (
            "UnrecognizedClientException",
            "error: Your AWS credentials are not valid: sign in again, or specify --profile.\n",
        ),
        ("AccessDeniedException", "error: Your AWS credentials do not allow PutItem: not allowed\n"),
        ("ThrottlingException", "error: AWS throttled PutItem: try again in a few seconds.\n"),
        ("InternalServerError", "error: PutItem failed: InternalServerError: not allowed\n"),
    ],
)
def test_an_error_of_aws_is_one_line(run: Any, emulator: Emulator, error: str, message: str) -> None:
    emulator.faults.add("dynamodb", "PutItem", error, status=400, times=None, message="not\n allowed")
    failed = run("ban", "pia")
    assert (failed.code, failed.out, failed.err) == (3, "", message)
