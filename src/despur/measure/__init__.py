"""What a run did: four axes, invariants, intervals, each beside its control; and what a comparison of many runs says."""

from despur.measure._area import Reading, areas, attainment, drift_at_task, hypervolume, task_at_drift
from despur.measure._axes import KEPT, accepted, four_axes
from despur.measure._choose import Choice, choose_setting, dominated, outdone
from despur.measure._intervals import kept_within, mean_interval, rate_interval
from despur.measure._invariant import leakage
from despur.measure._offtask import off_task
from despur.measure._prereg import Done, Prereg, deviations
from despur.measure._recovery import Recovery, recovery, smallest_push
from despur.measure._resample import Difference, Draws, difference, interval, resample
from despur.measure._runs import BASE, NAIVE, Grid, Run, gather, half
from despur.measure._stress import Ladder, Rise, by_seed, ladder, rise
from despur.measure._tests import Versus, holm, max_t, none_of, sign_flip, versus

__all__ = [
    "BASE", "KEPT", "NAIVE", "Choice", "Difference", "Done", "Draws", "Grid", "Ladder", "Prereg", "Reading", "Recovery",
    "Rise", "Run", "Versus", "accepted", "areas", "attainment", "by_seed", "choose_setting", "deviations", "difference",
    "dominated", "drift_at_task", "four_axes", "gather", "half", "holm", "hypervolume", "interval", "kept_within", "ladder",
    "leakage", "max_t", "mean_interval", "none_of", "off_task", "outdone", "rate_interval", "recovery", "resample", "rise",
    "sign_flip", "smallest_push", "task_at_drift", "versus",
]  # fmt: skip
