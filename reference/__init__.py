"""The generator of the API reference: `openapi.yaml`, `docs/errors.md`, the client's catalogue, the schema of events.

Models, error codes, messages and status codes come from the library. `errors.yaml` and `texts.yaml` contain only the
descriptions for API users.
"""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
"""The root folder of the repository."""
