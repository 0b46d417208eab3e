"""AWS's place, taken: every call is answered from a file, by operation and table, in the words of DynamoDB's API.

What boto3's Table adds to a call (conditions to expressions, DynamoDB's types to Python's and back) is done still: it
is the work of whoever uses it. botocore's own work (the request's bytes, the signature, HTTP) is left out for all.
"""

import copy
import json
import time
from typing import Any

import botocore.client

spent = 0
"""CPU nanoseconds that the stubs themselves took, for copies that no real call makes."""


def install(path: str) -> None:
    """`{"resource": …, "replies": {"Query table": …, "GetItem": …}}`; `resource` when boto3's Table calls."""
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
        # This puts Python's values into the place of DynamoDB's.
        client.meta.events.emit(
            f"after-call.dynamodb.{operation}", http_response=None, parsed=reply, model=model, context={}
        )
        return reply

    made: Any = botocore.client.BaseClient
    made._make_api_call = call_of_table if known["resource"] else call
