"""Stubs for AWS: every call returns a reply from a file, selected by operation and table, in DynamoDB's JSON.

The work of boto3's Table (building expressions, converting types) is still done, because it is part of the peers that
use it. The work of botocore (serialization, signature, HTTP) is left out for all targets.
"""

import copy
import json
import time
from typing import Any

import botocore.client

spent = 0
"""CPU nanoseconds of the stubs themselves, for copies that a real call does not make."""


def install(path: str) -> None:
    """Replace the AWS calls of all botocore clients with replies from a file.

    The file contains `{"resource": …, "replies": {"Query table": …, "GetItem": …}}`, where `resource` is true if the
    target uses boto3's Table.
    """
    with open(path, encoding="utf-8") as file:
        known = json.load(file)
    replies = known["replies"]

    def reply_to(operation: str, parameters: Any) -> Any:
        return replies.get(f"{operation} {parameters.get('TableName', '')}", replies.get(operation, {}))

    def call(_: Any, operation: str, parameters: Any) -> Any:
        return reply_to(operation, parameters)

    def call_of_table(client: Any, operation: str, parameters: Any) -> Any:
        global spent
        began = time.process_time_ns()
        reply = copy.deepcopy(reply_to(operation, parameters))
        spent += time.process_time_ns() - began
        model = client._service_model.operation_model(operation)
        client._emit_api_params(api_params=parameters, operation_model=model, context={})
        # Converts the DynamoDB values to Python values.
        client.meta.events.emit(
            f"after-call.dynamodb.{operation}", http_response=None, parsed=reply, model=model, context={}
        )
        return reply

    made: Any = botocore.client.BaseClient
    made._make_api_call = call_of_table if known["resource"] else call
