"""What many runs say together: areas, intervals, tests, plans; numpy alone, no model."""

from despur.judge.area import Reading, areas, attainment, drift_at_task, hypervolume, task_at_drift
from despur.judge.axes import KEPT, accepted, four_axes
from despur.judge.choose import Choice, choose_setting, dominated, outdone
from despur.judge.intervals import kept_within, mean_interval, rate_interval
from despur.judge.neutral import NeutralNull
from despur.judge.paired_tests import Versus, holm, max_t, none_of, sign_flip, versus
from despur.judge.prereg import Done, Prereg, deviations
from despur.judge.resample import Difference, Draws, difference, interval, resample
from despur.judge.runs import BASE, NAIVE, Grid, Run, gather, half
from despur.judge.stress import Ladder, Rise, by_seed, ladder, rise

__all__ = [
    "BASE", "KEPT", "NAIVE", "Choice", "Difference", "Done", "Draws", "Grid", "Ladder", "NeutralNull", "Prereg", "Reading",
    "Rise", "Run", "Versus", "accepted", "areas", "attainment", "by_seed", "choose_setting", "deviations", "difference",
    "dominated", "drift_at_task", "four_axes", "gather", "half", "holm", "hypervolume", "interval", "kept_within", "ladder",
    "max_t", "mean_interval", "none_of", "outdone", "rate_interval", "resample", "rise", "sign_flip", "task_at_drift", "versus",
]  # fmt: skip
