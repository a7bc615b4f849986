"""The verbs, built from rooms."""

from despur.flows._audit import Audit, audit
from despur.flows._demo import DemoResult, demo
from despur.flows._fit import Settings
from despur.flows._replay import replay
from despur.flows._train import GUARDS, Trained, train

__all__ = ["GUARDS", "Audit", "DemoResult", "Settings", "Trained", "audit", "demo", "replay", "train"]
