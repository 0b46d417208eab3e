"""Builds the function `functions/pages` into a folder: `python -m pages --swagger-ui FOLDER TARGET`."""

import argparse
import sys
from pathlib import Path

from pages.build import build
from pages.errors import BuildError


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pages", description="Build the function that serves the console.")
    parser.add_argument("--swagger-ui", type=Path, required=True, help="the folder with the files of Swagger UI")
    parser.add_argument("target", type=Path, help="the folder to build into")
    arguments = parser.parse_args()
    try:
        build(arguments.target, arguments.swagger_ui)
    except BuildError as error:
        sys.exit(f"pages: {error}")


if __name__ == "__main__":
    main()
