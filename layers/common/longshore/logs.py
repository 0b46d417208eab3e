"""The functions' log: Powertools' Logger, one line of JSON each."""

import logging
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from pydantic_core import to_json

_STANDARD = frozenset(vars(logging.makeLogRecord({})))
"""What every record has. The rest are the fields that were given with the message."""


class Lines(LambdaPowertoolsFormatter):
    """Powertools' lines, made in a third of the time when they tell of no exception.

    Times are UTC by RFC 3339, as Lambda's own filter of levels wants them.
    """

    def __init__(self) -> None:
        super().__init__(utc=True, use_rfc3339=True)

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info or record.args:
            return super().format(record)
        line: dict[str, Any] = {**self.log_format, **self.thread_safe_get_current_keys()}
        line |= {
            "level": record.levelname,
            "location": f"{record.funcName}:{record.lineno}",
            "message": record.msg,
            "timestamp": self.formatTime(record),
            "xray_trace_id": self._get_latest_trace_id(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        return to_json({name: value for name, value in line.items() if value is not None}, fallback=str).decode()


logger = Logger(logger_formatter=Lines())
