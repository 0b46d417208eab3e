"""Runs in the functions' Python: gets ready as a cold start does and exits, so that its CPU time is that of the start.

    ready.py nothing              the interpreter only
    ready.py client               boto3 and a DynamoDB client, the baseline
    ready.py run CODE             a line of Python
    ready.py import [MODEL...]    the function's module, and the models that the first call would build
    ready.py call EVENT REPLIES   the module and its first call, with stubs for AWS

If CHECK is set, the program writes what it has observed to this file. Such a run is not measured.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Not imported at run time, because the start of the interpreter is measured too.
    from typing import Any

CHECK = os.environ.get("CHECK")

made: set[str] = set()


def main() -> None:
    what = sys.argv[1]
    clients_at_import: set[str] = set()
    models_at_import: set[str] = set()
    answer = None
    if what == "client":
        import boto3

        boto3.client("dynamodb")
    elif what == "run":
        exec(sys.argv[2], {})
    elif what != "nothing":
        if CHECK and what == "call":
            watch()
        import app

        if what == "import":
            for model in sys.argv[2:]:
                module, name = model.split(":")
                getattr(sys.modules[module], name).model_rebuild()
        else:
            clients_at_import, models_at_import = set(made), models()
            answer = first_call(app)
    if CHECK:
        import json

        seen = {
            "clients": sorted(made - clients_at_import),
            "models": sorted(models() - models_at_import),
            "answer": answer,
        }
        with open(CHECK, "w", encoding="utf-8") as file:
            json.dump(seen, file, default=str)
    # Skip the interpreter's shutdown, which is not part of a cold start.
    sys.stdout.flush()
    os._exit(0)


def first_call(app: Any) -> Any:
    """Call the handler once, with stubs for AWS if the module uses botocore."""
    import json

    from context import Context

    with open(sys.argv[2], encoding="utf-8") as file:
        event = json.load(file)
    if "botocore.client" in sys.modules:
        import stubs

        stubs.install(sys.argv[3])
    return app.handler(event, Context())


def models() -> set[str]:
    """Return the pydantic models that have been built, as MODULE:NAME."""
    if "pydantic" not in sys.modules:
        return set()
    from pydantic import BaseModel

    found, left = set(), BaseModel.__subclasses__()
    while left:
        model = left.pop()
        left += model.__subclasses__()
        if model.__pydantic_complete__ and getattr(sys.modules.get(model.__module__), model.__name__, None) is model:
            found.add(f"{model.__module__}:{model.__name__}")
    return found


def watch() -> None:
    """Record the services for which clients are created. Imports botocore, so the run must not be measured."""
    import botocore.client

    creator: Any = botocore.client.ClientCreator
    original = creator.create_client

    def create_client(self: Any, service_name: str, *arguments: Any, **options: Any) -> Any:
        made.add(service_name)
        return original(self, service_name, *arguments, **options)

    creator.create_client = create_client


main()
