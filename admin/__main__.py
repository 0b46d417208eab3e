"""Entry point of `python -m admin`, run from the root of the repository."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # The longshore library, as `sam build` packages it.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "layers" / "common"))
    from admin.cli import main

    sys.exit(main(sys.argv[1:]))
