"""What a model, its rows or a factor show: causal checks, token use, leakage, change off-task; each beside its control."""

from despur.core.late import moved
from despur.measure.causal import CausalCheck, causal_check, causal_checks
from despur.measure.clamped import Recovered, clamp, recovery_behind_clamp
from despur.measure.clamped_layers import RecoveredAcross, recovery_across_layers
from despur.measure.continuations import Continuations, continuations
from despur.measure.describe import RowScores, promoted, rows_along
from despur.measure.free_push import free_push
from despur.measure.leakage import leakage
from despur.measure.loss_slope import LossSlope, loss_slopes
from despur.measure.off_task import off_task
from despur.measure.overlap import Overlap, overlap
from despur.measure.patch import patch_shares, task_kept
from despur.measure.recovery import Recovery, recovery, smallest_push
from despur.measure.scaled import Louder, can_scale, louder
from despur.measure.shares import ModuleShare, module_shares
from despur.measure.tokens import TokenShift, token_shift

__all__ = [
    "CausalCheck", "Continuations", "LossSlope", "Louder", "ModuleShare", "Overlap", "Recovered", "RecoveredAcross", "Recovery",
    "RowScores", "TokenShift", "can_scale", "causal_check", "causal_checks", "clamp", "continuations", "free_push", "leakage",
    "loss_slopes", "louder", "module_shares", "off_task", "overlap", "patch_shares", "promoted", "recovery",
    "recovery_across_layers", "recovery_behind_clamp", "rows_along", "smallest_push", "task_kept", "token_shift",
]  # fmt: skip

_MOVED = (
    "BASE", "KEPT", "NAIVE", "Choice", "Difference", "Done", "Draws", "Grid", "Ladder", "Prereg", "Reading", "Rise",
    "Run", "Versus", "accepted", "areas", "attainment", "by_seed", "choose_setting", "deviations", "difference",
    "dominated", "drift_at_task", "four_axes", "gather", "half", "holm", "hypervolume", "interval", "kept_within", "ladder",
    "max_t", "mean_interval", "none_of", "outdone", "rate_interval", "resample", "rise", "sign_flip",
    "task_at_drift", "versus",
)  # fmt: skip

__getattr__ = moved("despur.measure", dict.fromkeys(_MOVED, "despur.judge"))
