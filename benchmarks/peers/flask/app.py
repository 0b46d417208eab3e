"""Flask with apig-wsgi as documented: parameters from `request.args`, and a dict as the response."""

import os
import re
from decimal import Decimal

import boto3
from apig_wsgi import make_lambda_handler
from boto3.dynamodb.conditions import Key
from flask import Flask, abort, request
from flask.json.provider import DefaultJSONProvider

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


class Numbers(DefaultJSONProvider):
    """Serializes DynamoDB's Decimals as numbers. Flask would serialize them as strings."""

    @staticmethod
    def default(value):
        return int(value) if isinstance(value, Decimal) else DefaultJSONProvider.default(value)


app = Flask(__name__)
app.json = Numbers(app)


@app.get("/api/v1/containers/<container_id>/status-logs")
def get_status_logs(container_id):
    page = request.args.get("page", 1, type=int)
    limit = request.args.get("limit", 10, type=int)
    sort_by = request.args.get("sort_by", "transition_time")
    sort_order = request.args.get("sort_order", "desc")
    if not re.fullmatch("[0-9a-f]{24}", container_id) or page < 1 or not 1 <= limit <= 100:
        abort(400)
    if sort_by not in INDEXES or sort_order not in ("asc", "desc"):
        abort(400)
    user = request.environ["apig_wsgi.request_context"]["authorizer"]["user_id"]

    container = containers.get_item(Key={"id": container_id}, ConsistentRead=True).get("Item")
    if container is None:
        abort(404)
    scope = f"project#{container['project_id']}"
    if "Item" not in access.get_item(Key={"user_id": user, "scope": scope}, ConsistentRead=True):
        abort(404)
    wanted = {
        "IndexName": INDEXES[sort_by],
        "KeyConditionExpression": Key("container_id").eq(container_id),
        "ScanIndexForward": sort_order == "asc",
        "Limit": limit,
        "ConsistentRead": True,
    }
    answer = status_logs.query(**wanted)
    for _ in range(page - 1):
        if "LastEvaluatedKey" not in answer:
            answer = {"Items": []}
            break
        answer = status_logs.query(**wanted, ExclusiveStartKey=answer["LastEvaluatedKey"])
    total = int(container["log_count"])
    return {
        "statusCode": 200,
        "message": "Container status logs retrieved successfully",
        "data": {
            "logs": [{field: item.get(field) for field in FIELDS} for item in answer["Items"]],
            "pagination": {"total": total, "page": page, "limit": limit, "totalPages": -(-total // limit)},
        },
    }


handler = make_lambda_handler(app)
