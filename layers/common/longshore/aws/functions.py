"""Asynchronous invocation of a Lambda function."""

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from longshore.domain.errors import ExternalServiceError

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient


class Function:
    """A Lambda function that can be invoked."""

    def __init__(self, client: "LambdaClient", arn: str) -> None:
        self._client = client
        self._arn = arn

    def invoke(self, payload: str) -> None:
        """Invoke the function asynchronously.

        If the reply is lost, botocore repeats the request, and the function may run twice.

        Args:
            payload: The event, as JSON.

        Raises:
            ExternalServiceError: Lambda did not accept the invocation.
        """
        try:
            self._client.invoke(FunctionName=self._arn, InvocationType="Event", Payload=payload)
        except (ClientError, BotoCoreError) as error:
            raise ExternalServiceError("Lambda did not take over the rest of the batch") from error
