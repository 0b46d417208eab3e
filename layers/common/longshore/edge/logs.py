"""The log of the functions: one line of JSON per message, in UTC, with times as RFC 3339."""

from aws_lambda_powertools.logging import Logger

# Lambda's filter of log levels needs times as RFC 3339.
logger = Logger(utc=True, use_rfc3339=True)
