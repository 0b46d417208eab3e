"""The log of the functions: one line of JSON per message, in UTC, with times as RFC 3339."""

import logging
import os

from aws_lambda_powertools.logging import Logger

# Lambda's filter of log levels needs times as RFC 3339.
logger = Logger(utc=True, use_rfc3339=True)

# Lambda's own level is INFO or DEBUG, and Powertools prefers it to the level of the functions.
logging.getLogger(logger.name).setLevel(os.environ.get("POWERTOOLS_LOG_LEVEL", "INFO"))
# At level DEBUG, botocore logs the bodies of responses, which contain the token secret. At INFO, each execution
# environment logs where its credentials and endpoints come from.
for _library in ("botocore", "urllib3"):
    logging.getLogger(_library).setLevel(logging.WARNING)
