"""Ids: 24 hexadecimal characters, as the API's contract has them."""

import os


def new_id() -> str:
    """Make a random id of 24 lower-case hexadecimal characters."""
    return os.urandom(12).hex()
