"""Audits as SARIF 2.1.0, for a forge's list of findings: python examples/audit_sarif.py audit/*/audit.json > audits.sarif."""

import json
import sys

import despur

LEVELS = {"factors found": "error", "factor likely": "warning", "unreadable": "error", "diffuse change": "note"}


def result(path):
    """One audit as a finding; a clean one is none."""
    with open(path, encoding="utf-8") as file:
        audit = json.load(file)
    if audit["verdict"] not in LEVELS:
        return []
    return [
        {
            "ruleId": audit["verdict"].replace(" ", "-"),
            "level": LEVELS[audit["verdict"]],
            "message": {"text": f"{audit['verdict']}: {audit['sentence']}"},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": audit["arguments"]["adapter"]}}}],
        }
    ]


rules = [{"id": name.replace(" ", "-"), "defaultConfiguration": {"level": level}} for name, level in LEVELS.items()]
driver = {"name": "despur", "version": despur.__version__, "rules": rules}
json.dump(
    {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": [r for path in sys.argv[1:] for r in result(path)]}],
    },
    sys.stdout,
    indent=1,
)
