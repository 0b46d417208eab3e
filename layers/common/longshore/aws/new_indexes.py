"""Queries of global indexes that a deployment may still be creating."""

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from longshore.aws.transactions import StoreError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


def query(dynamodb: "DynamoDBClient", content: str, request: dict[str, Any]) -> Any:
    """Query an index, once.

    Args:
        dynamodb: The client.
        content: What the index contains, for the error message.
        request: The parameters of the Query.

    Raises:
        StoreError: The index does not exist yet, or DynamoDB is still filling it.
        ClientError: DynamoDB returned another error.
    """
    try:
        return dynamodb.query(**request)
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in ("ValidationException", "ResourceNotFoundException") and "index" in message.lower():
            raise StoreError(f"The index of {content} is being created; try again later") from error
        raise
