"""What many runs show together: areas, intervals, tests, plans; numpy and scipy alone, no model."""

from despur.judge.area import Reading, areas, attainment, drift_at_task, hypervolume, task_at_drift
from despur.judge.axes import AREA, CONSTRAINTS, KEPT, LOWER, accepted, axis_word, check_axis, four_axes, in_words
from despur.judge.choose import Choice, choose_setting, dominated, outdone
from despur.judge.deviations import Done, deviations
from despur.judge.difference import Difference, difference, interval
from despur.judge.gather import gather
from despur.judge.intervals import kept_within, mean_interval, rate_interval
from despur.judge.neutral import NeutralNull
from despur.judge.paired_tests import Versus, holm, max_t, none_of, sign_flip, versus
from despur.judge.prereg import NO_HARM, Prereg, rules
from despur.judge.resample import Draws, resample
from despur.judge.runs import BASE, NAIVE, Grid, Half, Run, half
from despur.judge.single_run import area_of_one
from despur.judge.stress import Ladder, Rise, by_seed, ladder, rise

__all__ = [
    "AREA", "BASE", "CONSTRAINTS", "KEPT", "LOWER", "NAIVE", "NO_HARM", "Choice", "Difference", "Done", "Draws", "Grid",
    "Half", "Ladder", "NeutralNull", "Prereg", "Reading", "Rise", "Run", "Versus", "accepted", "area_of_one", "areas", "attainment",
    "axis_word", "by_seed", "check_axis", "choose_setting", "deviations", "difference", "dominated", "drift_at_task",
    "four_axes", "gather", "half", "holm", "hypervolume", "in_words", "interval", "kept_within", "ladder", "max_t",
    "mean_interval", "none_of", "outdone", "rate_interval", "resample", "rise", "rules", "sign_flip", "task_at_drift",
    "versus",
]  # fmt: skip
