"""Write docs/audit.schema.json and docs/audit-rows.schema.json, the forms of `audit.json`; with --check, say whether they are current."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from despur.flows._audit.json_form import ROWS_SCHEMA, SCHEMA, AuditJson, RowsAuditJson

FORMS = {"audit.schema.json": (SCHEMA, AuditJson), "audit-rows.schema.json": (ROWS_SCHEMA, RowsAuditJson)}


def schema(name: str, of: Any) -> str:
    """Give a JSON schema as text."""
    form = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, **TypeAdapter(of).json_schema()}
    return json.dumps(form, indent=1) + "\n"


if __name__ == "__main__":
    for file, (name, of) in FORMS.items():
        page = Path(__file__).with_name(file)
        if "--check" not in sys.argv:
            page.write_text(schema(name, of), encoding="utf-8")
        elif not page.exists() or page.read_text(encoding="utf-8") != schema(name, of):
            sys.exit(f"docs/{file} is stale: run `make sync`")
