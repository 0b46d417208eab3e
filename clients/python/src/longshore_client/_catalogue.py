# ruff: noqa: E501
"""What to do about each error. Made by `make openapi` from the catalogue of errors: do not edit."""

RESOLUTIONS: dict[str, str] = {
    "MISSING_TOKEN": "Send your token in the header `Authorization: Bearer <token>`, once.",
    "INVALID_TOKEN": "Get a new token from whoever issues them for this API, and send it whole and unchanged.",
    "TOKEN_EXPIRED": "Get a new token and repeat the request with it.",
    "INVALID_ID_FORMAT": "Check that the ID is complete, in lower case, and has nothing around it.",
    "VALIDATION_ERROR": "Correct what the message names, then send the request again. As it is, it will be refused every time.",
    "ACCOUNT_BANNED": "Ask the people who run this API. Repeating the request does not help until they lift the ban.",
    "CONTAINER_NOT_FOUND": "Check the ID. If it is right, ask an administrator to make you a member of the container's project.",
    "INSUFFICIENT_PERMISSIONS": "Ask an administrator for the role `operator` in the container's project.",
    "OPERATION_NOT_PERMITTED_ON_EXPIRED": "Use another container. No operation will bring this one back.",
    "OPERATION_STATE_CONFLICT": "Choose one of `data.allowed_operations`. If an operation is pending, wait until it has ended and try again, or use `force-stop`. If the container is already as you want it, there is nothing to do.",
    "EXTERNAL_SERVICE_ERROR": "Read `data.reason`. If room or a permission is missing, tell the people who run this API. Otherwise repeat the request after a few seconds, an operation with the same `Idempotency-Key`.",
    "INTERNAL_SERVER_ERROR": "Repeat the request after a few seconds, an operation with the same `Idempotency-Key`. If it keeps failing, tell the people who run this API, with the `X-Request-Id`.",
    "ROUTE_NOT_FOUND": "Check the base URL, the path and the method against the reference.",
    "RATE_LIMITED": "Wait as many seconds as `Retry-After` says, then repeat the request. Poll less often.",
}
