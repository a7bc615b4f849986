"""The verbs, built from rooms. Each is imported when it is asked for: an audit needs no trainer, and those take seconds."""

from typing import TYPE_CHECKING

from despur.core._late import imported_late

if TYPE_CHECKING:
    from despur.flows._audit import Audit, audit, unreadable
    from despur.flows._calibrate import calibrate
    from despur.flows._certificate import Certificate
    from despur.flows._certify import certify
    from despur.flows._clean import Cleaned, clean
    from despur.flows._demo import DemoResult, demo
    from despur.flows._fit import Settings
    from despur.flows._library import (
        Compared,
        Entry,
        Match,
        add_to_library,
        compare_with_library,
        library_folder,
        list_library,
        remove_from_library,
    )
    from despur.flows._replay import replay
    from despur.flows._train import GUARDS, train
    from despur.flows._train_page import Trained
    from despur.flows._verify import Verified, verify

_WHERE = {
    "_audit": ("Audit", "audit", "unreadable"),
    "_calibrate": ("calibrate",),
    "_certificate": ("Certificate",),
    "_certify": ("certify",),
    "_clean": ("Cleaned", "clean"),
    "_demo": ("DemoResult", "demo"),
    "_fit": ("Settings",),
    "_library": (
        "Compared", "Entry", "Match", "add_to_library", "compare_with_library", "library_folder", "list_library",
        "remove_from_library",
    ),
    "_replay": ("replay",),
    "_train": ("GUARDS", "train"),
    "_train_page": ("Trained",),
    "_verify": ("Verified", "verify"),
}  # fmt: skip

__all__ = [
    "GUARDS", "Audit", "Certificate", "Cleaned", "Compared", "DemoResult", "Entry", "Match", "Settings", "Trained", "Verified",
    "add_to_library", "audit", "calibrate", "certify", "clean", "compare_with_library", "demo", "library_folder", "list_library",
    "remove_from_library", "replay", "train", "unreadable", "verify",
]  # fmt: skip

__getattr__ = imported_late("despur.flows", _WHERE)
