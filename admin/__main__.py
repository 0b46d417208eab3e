"""`python -m admin` from the repository's root."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Where `sam build` takes the library from.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "layers" / "common"))
    from admin.cli import main

    sys.exit(main(sys.argv[1:]))
