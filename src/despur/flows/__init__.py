"""The verbs, built from rooms."""

from despur.flows._audit import Audit, audit, unreadable
from despur.flows._calibrate import calibrate
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
from despur.flows._train import GUARDS, Trained, train

__all__ = [
    "GUARDS", "Audit", "Cleaned", "Compared", "DemoResult", "Entry", "Match", "Settings", "Trained", "add_to_library", "audit", "calibrate",
    "clean", "compare_with_library", "demo", "library_folder", "list_library", "remove_from_library", "replay", "train", "unreadable",
]  # fmt: skip
