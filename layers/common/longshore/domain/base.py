"""The base class of all models, and the type of their times."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer

from longshore.domain.clock import to_text

Timestamp = Annotated[datetime, PlainSerializer(to_text)]
"""A time in UTC to the millisecond; as text, `2025-01-15T10:30:00.000Z`."""


class Model(BaseModel):
    """The base of all models, which cannot be changed."""

    # `wiring` builds the models that a function needs, because building all of them takes time.
    model_config = ConfigDict(frozen=True, defer_build=True)
