"""The audit of what cannot be read."""

from despur.core.errors import DespurError
from despur.core.text.row_files import are_rows
from despur.flows._audit.page import Audit
from despur.flows._audit.rows.page import RowsAudit, unreadable_rows
from despur.flows.record import run_record


def unreadable(base: str, adapter: str, error: DespurError) -> Audit | RowsAudit:
    """The audit of what cannot be read: the error as its sentence."""
    record = run_record("audit", {"base": base, "adapter": adapter})
    if are_rows(adapter):
        return unreadable_rows(error, record)
    return Audit("unreadable", str(error), (), 0.0, {}, {}, record=record)
