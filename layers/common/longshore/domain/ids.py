"""Ids in the format of the API."""

import os


def new_id() -> str:
    """Create a random id of 24 lower-case hexadecimal characters."""
    return os.urandom(12).hex()
