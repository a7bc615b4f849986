"""What a run did: four axes, invariants, intervals, each beside its control."""

from despur.measure._axes import KEPT, accepted, four_axes
from despur.measure._intervals import kept_within, mean_interval, rate_interval
from despur.measure._invariant import leakage
from despur.measure._offtask import off_task

__all__ = ["KEPT", "accepted", "four_axes", "kept_within", "leakage", "mean_interval", "off_task", "rate_interval"]
