"""The verbs, built from rooms. Each is imported when it is asked for: an audit needs no trainer, and those take seconds."""

from typing import TYPE_CHECKING

from despur.core.late import imported_late

if TYPE_CHECKING:
    from despur.flows._absorb.absorb import Absorbed, absorb
    from despur.flows._audit.audit import Audit, audit
    from despur.flows._audit.calibrate import calibrate
    from despur.flows._audit.unreadable import unreadable
    from despur.flows._clean.clean import clean
    from despur.flows._clean.cleaned import Cleaned
    from despur.flows._compare.arm import Arm
    from despur.flows._compare.arms import ARMS, QUICK
    from despur.flows._compare.asked import settle
    from despur.flows._compare.compare import compare, dry_run
    from despur.flows._compare.estimate import Estimate, estimate
    from despur.flows._compare.study import Line, Study
    from despur.flows._compare.trial import open_bench, try_arm, try_guard
    from despur.flows._demo.conversation import Conversation
    from despur.flows._demo.demo import demo
    from despur.flows._demo.page import DemoResult
    from despur.flows._fetch.fetch import Known, fetch
    from despur.flows._fit.apply import Applied, apply
    from despur.flows._fit.fit import Fitted, fit
    from despur.flows._library.entries import Entry, library_folder, list_library, remove_from_library
    from despur.flows._library.export import Exported, export_from_library
    from despur.flows._library.library import Compared, Match, add_to_library, compare_with_library
    from despur.flows._prove.prove import prove
    from despur.flows._prove.proven import Evidence, Proven
    from despur.flows._replay import replay
    from despur.flows._report.report import Rewritten, report
    from despur.flows._scan.scan import Scan, scan
    from despur.flows._table.table import table
    from despur.flows._table.write_table import TableSummary, write_table
    from despur.flows._train.fit import Settings
    from despur.flows._train.page import Trained
    from despur.flows._train.train import GUARDS, train
    from despur.flows._verify.certificate import Certificate
    from despur.flows._verify.certify import certify
    from despur.flows._verify.verify import Verified, verify
    from despur.flows.placement import Placement

WHERE = {  # module -> names
    "_absorb.absorb": ("Absorbed", "absorb"),
    "_audit.audit": ("Audit", "audit"),
    "_audit.calibrate": ("calibrate",),
    "_audit.unreadable": ("unreadable",),
    "_verify.certificate": ("Certificate",),
    "_verify.certify": ("certify",),
    "_clean.cleaned": ("Cleaned",),
    "_clean.clean": ("clean",),
    "_compare.arm": ("Arm",),
    "_compare.arms": ("ARMS", "QUICK"),
    "_compare.asked": ("settle",),
    "_compare.compare": ("compare", "dry_run"),
    "_report.report": ("Rewritten", "report"),
    "_compare.estimate": ("Estimate", "estimate"),
    "_compare.study": ("Line", "Study"),
    "_compare.trial": ("open_bench", "try_arm", "try_guard"),
    "_demo.conversation": ("Conversation",),
    "_demo.page": ("DemoResult",),
    "_demo.demo": ("demo",),
    "_scan.scan": ("Scan", "scan"),
    "_table.table": ("table",),
    "_table.write_table": ("TableSummary", "write_table"),
    "_fetch.fetch": ("Known", "fetch"),
    "_fit.apply": ("Applied", "apply"),
    "_fit.fit": ("Fitted", "fit"),
    "_train.fit": ("Settings",),
    "_library.entries": ("Entry", "library_folder", "list_library", "remove_from_library"),
    "_library.library": ("Compared", "Match", "add_to_library", "compare_with_library"),
    "_prove.proven": ("Evidence", "Proven"),
    "_prove.prove": ("prove",),
    "_library.export": ("Exported", "export_from_library"),
    "_replay": ("replay",),
    "_train.train": ("GUARDS", "train"),
    "_train.page": ("Trained",),
    "_verify.verify": ("Verified", "verify"),
    "placement": ("Placement",),
}  # fmt: skip

__all__ = [
    "ARMS", "GUARDS", "QUICK", "Absorbed", "Applied", "Arm", "Audit", "Certificate", "Cleaned", "Compared", "Conversation",
    "DemoResult", "Entry", "Estimate", "Evidence", "Exported", "Fitted", "Known", "Line", "Match", "Placement", "Proven", "Rewritten",
    "Scan", "Settings", "Study", "TableSummary", "Trained", "Verified", "absorb", "add_to_library", "apply", "audit", "calibrate",
    "certify", "clean", "compare", "compare_with_library", "demo", "dry_run", "estimate", "export_from_library", "fetch", "fit",
    "library_folder", "list_library", "open_bench", "prove", "remove_from_library", "replay", "report", "scan", "settle", "table",
    "train", "try_arm", "try_guard", "unreadable", "verify", "write_table",
]  # fmt: skip

__getattr__ = imported_late("despur.flows", WHERE)
