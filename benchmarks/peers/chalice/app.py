"""Chalice as documented: the view reads query parameters as strings and returns a value that becomes JSON."""

import json
import os
import re
from decimal import Decimal

import boto3
from boto3.dynamodb.conditions import Key
from chalice import BadRequestError, Chalice, NotFoundError

dynamodb = boto3.resource("dynamodb")
containers = dynamodb.Table(os.environ["CONTAINERS_TABLE"])
status_logs = dynamodb.Table(os.environ["STATUS_LOGS_TABLE"])
access = dynamodb.Table(os.environ["ACCESS_TABLE"])

INDEXES = {
    "transition_time": "by-seq",
    "created_at": "by-seq",
    "to_status": "by-to-status",
    "from_status": "by-from-status",
}
FIELDS = (
    "id",
    "container_id",
    "from_status",
    "to_status",
    "transition_time",
    "created_at",
    "duration_ms",
    "triggered_by",
    "metadata",
)

app = Chalice(app_name="status-logs")


def whole(name, value, least, most):
    if not value.isdecimal() or not least <= int(value) <= most:
        raise BadRequestError(f"{name} must be an integer from {least} to {most}")
    return int(value)


def plain(value):
    """Convert DynamoDB's Decimals, which neither JSON nor Chalice can serialize."""
    return json.loads(json.dumps(value, default=lambda number: int(number) if isinstance(number, Decimal) else number))


@app.route("/api/v1/containers/{id}/status-logs", methods=["GET"])
def get_status_logs(id):
    container_id = id
    if not re.fullmatch("[0-9a-f]{24}", container_id):
        raise BadRequestError("Invalid ID format")
    query = app.current_request.query_params or {}
    page = whole("page", query.get("page", "1"), 1, 10**9)
    limit = whole("limit", query.get("limit", "10"), 1, 100)
    sort_by = query.get("sort_by", "transition_time")
    sort_order = query.get("sort_order", "desc")
    if sort_by not in INDEXES or sort_order not in ("asc", "desc"):
        raise BadRequestError("unknown order")
    user = app.current_request.context["authorizer"]["user_id"]

    container = containers.get_item(Key={"id": container_id}, ConsistentRead=True).get("Item")
    if container is None:
        raise NotFoundError("Container not found")
    scope = f"project#{container['project_id']}"
    if "Item" not in access.get_item(Key={"user_id": user, "scope": scope}, ConsistentRead=True):
        raise NotFoundError("Container not found")
    request = {
        "IndexName": INDEXES[sort_by],
        "KeyConditionExpression": Key("container_id").eq(container_id),
        "ScanIndexForward": sort_order == "asc",
        "Limit": limit,
        "ConsistentRead": True,
    }
    answer = status_logs.query(**request)
    for _ in range(page - 1):
        if "LastEvaluatedKey" not in answer:
            answer = {"Items": []}
            break
        answer = status_logs.query(**request, ExclusiveStartKey=answer["LastEvaluatedKey"])
    total = int(container["log_count"])
    return {
        "statusCode": 200,
        "message": "Container status logs retrieved successfully",
        "data": {
            "logs": [{field: plain(item.get(field)) for field in FIELDS} for item in answer["Items"]],
            "pagination": {"total": total, "page": page, "limit": limit, "totalPages": -(-total // limit)},
        },
    }


handler = app
