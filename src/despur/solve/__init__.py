"""Numerical solvers that several rooms share: proximal operators, penalties, and what minimises a loss plus a penalty; numpy and scipy."""

from despur.solve.admm import admm
from despur.solve.cells import Cells
from despur.solve.fista import fista
from despur.solve.groups import GroupNorm, group
from despur.solve.least_squares import LeastSquares, least_squares
from despur.solve.penalties import CEL0, L0, L1, LQ, NuclearNorm, Simplex
from despur.solve.penalty import Norm, Penalty, Weighted
from despur.solve.powers import half, lq
from despur.solve.prox import cel0, hard, nuclear, simplex, soft
from despur.solve.prox_ncg import prox_ncg
from despur.solve.solution import Solution
from despur.solve.total_variation import TotalVariation, fused

__all__ = [
    "CEL0", "L0", "L1", "LQ", "Cells", "GroupNorm", "LeastSquares", "Norm", "NuclearNorm", "Penalty", "Simplex",
    "Solution", "TotalVariation", "Weighted", "admm", "cel0", "fista", "fused", "group", "half", "hard", "least_squares",
    "lq", "nuclear", "prox_ncg", "simplex", "soft",
]  # fmt: skip
