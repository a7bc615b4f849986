"""Write docs/audit.schema.json, the form of `audit.json`; with --check, say whether it is up to date."""

import json
import sys
from pathlib import Path

from pydantic import TypeAdapter

from despur.flows._audit.json_form import SCHEMA, AuditJson

PAGE = Path(__file__).with_name("audit.schema.json")


def schema() -> str:
    """Give the JSON schema as text."""
    form = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        **TypeAdapter(AuditJson).json_schema(),
    }
    return json.dumps(form, indent=1) + "\n"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(schema(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != schema():
        sys.exit("docs/audit.schema.json is stale: run `make sync`")
