"""FastAPI with Mangum as documented: models for the response, and the caller as a dependency."""

import os
from typing import Annotated, Any, Literal

import boto3
from boto3.dynamodb.conditions import Key
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request
from mangum import Mangum
from pydantic import BaseModel

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


class StatusLog(BaseModel):
    id: str
    container_id: str
    from_status: str | None = None
    to_status: str
    transition_time: str
    created_at: str
    duration_ms: int | None = None
    triggered_by: str
    metadata: dict[str, Any] | None = None


class Pagination(BaseModel):
    total: int
    page: int
    limit: int
    totalPages: int


class StatusLogs(BaseModel):
    logs: list[StatusLog]
    pagination: Pagination


class Answer(BaseModel):
    statusCode: int
    message: str
    data: StatusLogs


app = FastAPI()


def caller(request: Request) -> str:
    return request.scope["aws.event"]["requestContext"]["authorizer"]["user_id"]


@app.get("/api/v1/containers/{container_id}/status-logs")
def get_status_logs(
    container_id: Annotated[str, Path(pattern="^[0-9a-f]{24}$")],
    user: Annotated[str, Depends(caller)],
    page: Annotated[int, Query(ge=1)] = 1,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    sort_by: Literal["transition_time", "created_at", "to_status", "from_status"] = "transition_time",
    sort_order: Literal["asc", "desc"] = "desc",
) -> Answer:
    container = containers.get_item(Key={"id": container_id}, ConsistentRead=True).get("Item")
    if container is None:
        raise HTTPException(404, "Container not found")
    scope = f"project#{container['project_id']}"
    if "Item" not in access.get_item(Key={"user_id": user, "scope": scope}, ConsistentRead=True):
        raise HTTPException(404, "Container not found")
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
    return Answer(
        statusCode=200,
        message="Container status logs retrieved successfully",
        data=StatusLogs(
            logs=[StatusLog(**item) for item in answer["Items"]],
            pagination=Pagination(total=total, page=page, limit=limit, totalPages=-(-total // limit)),
        ),
    )


handler = Mangum(app, lifespan="off")
