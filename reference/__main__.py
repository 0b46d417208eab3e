"""`python -m reference` writes the generated files. A test fails if they are out of date."""

from __future__ import annotations

from reference import ROOT, client_catalogue, errors_page, event_schema, openapi

PAGES = {
    ROOT / "openapi.yaml": openapi.text,
    ROOT / "docs" / "errors.md": errors_page.text,
    ROOT / "docs" / "status-change.schema.json": event_schema.text,
    ROOT / "clients/python/src/longshore_client/_catalogue.py": client_catalogue.text,
}


def main() -> None:
    for path, text in PAGES.items():
        path.write_text(text(), encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
