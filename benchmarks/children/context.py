"""The context argument of a handler."""


class Context:
    """A Lambda context with fixed values."""

    function_name = memory_limit_in_mb = log_group_name = log_stream_name = "benchmark"
    function_version = "$LATEST"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:benchmark"
    identity = client_context = None

    def __init__(self, aws_request_id: str = "5f0c8c7e-2a44-4a1c-9d3b-000000000000") -> None:
        self.aws_request_id = aws_request_id

    def get_remaining_time_in_millis(self) -> int:
        return 29_000
