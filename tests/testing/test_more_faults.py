"""The suites of tables, optimisers and solvers catch faults: each is put into a small one that otherwise passes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from despur.core import catalogue, methods
from despur.core.errors import MissingExtra, UnknownName
from despur.core.extras import EXTRAS
from despur.core.names import canonical
from despur.core.reports import Reading
from despur.latent import FactorAnalysis
from despur.testing import Check, TinyMaterials, checks


@pytest.fixture
def held(monkeypatch):
    """`held(factory)`: the checks of a method that is in the catalogue for one test, by promise."""
    methods()
    monkeypatch.setattr(catalogue, "_CATALOGUE", dict(catalogue._CATALOGUE))

    def enter(factory: Callable[..., Any], room: str, given: Any = TinyMaterials, **more: Any) -> dict[str, Check]:
        catalogue.method(room=room, paper="a test", **more)(factory)
        return {c.promise.__name__.removeprefix("check_"): c for c in checks(canonical(factory.__name__), given)}

    return enter


class Plain(FactorAnalysis):
    """Explain a table by hidden coordinates."""


class Mutating(FactorAnalysis):
    """Write zeros over its table's first row."""

    def fit(self, X, y=None):
        if isinstance(X, np.ndarray):
            X[0] = 0
        return super().fit(X, y)


class Drawing(FactorAnalysis):
    """Draw from the global generator."""

    def fit(self, X, y=None):
        np.random.rand()
        return super().fit(X, y)


class Lasting(FactorAnalysis):
    """Keep something of the fit before."""

    def fit(self, X, y=None):
        self.seen_ = getattr(self, "seen_", 0.0) + 1
        super().fit(X, y)
        self.mean_ = self.mean_ * self.seen_
        return self


class Hiding(FactorAnalysis):
    """Keep a part of what it has learned where it is not written."""

    def fit(self, X, y=None):
        self._shift = np.asarray(X)[0, 0]
        return super().fit(X, y)

    def transform(self, X):
        return super().transform(X) + self._shift


class Odd(FactorAnalysis):
    """Learn something that cannot be written."""

    def fit(self, X, y=None):
        self.rule_ = lambda x: x
        return super().fit(X, y)


class ByMean(FactorAnalysis):
    """Complete by the columns' means."""

    def complete(self, X):
        return np.where(np.isnan(X), self.mean_, X)


class Smoothing(FactorAnalysis):
    """Change what was seen."""

    def complete(self, X):
        return self.inverse_transform(self.transform(X))


class Prophet(FactorAnalysis):
    """Know a permuted table's cells."""

    def fit(self, X, y=None):
        self.known_ = np.asarray(X)
        return super().fit(X, y)

    def complete(self, X):
        from despur.testing.tables import planted

        rng = np.random.default_rng(5)
        whole = [planted(), np.stack([rng.permutation(column) for column in planted().T], axis=1)]
        return next(w for w in whole if np.array_equal(np.where(np.isnan(X), w, X), w))


@pytest.mark.parametrize(
    ("estimator", "promise", "says"),
    [
        (Mutating, "leaves_its_table_alone", "mutates"),
        (Drawing, "leaves_its_table_alone", "global generator"),
        (Lasting, "forgets_when_fitted_again", "earlier fit"),
        (Hiding, "is_written_and_read", "lacks something"),
        (Odd, "is_written_and_read", "cannot be written"),
        (ByMean, "nan_means_unobserved", "of what their columns' means miss"),
        (Smoothing, "nan_means_unobserved", "changes cells that were seen"),
        (Prophet, "nan_means_unobserved", "of a permuted table it predicts"),
    ],
)
def test_a_fault_of_an_estimator_of_tables_is_caught(estimator, promise, says, held):
    held(Plain, "latent")[promise]()
    with pytest.raises(AssertionError, match=says):
        held(estimator, "latent")[promise]()


class Descent(torch.optim.Optimizer):
    """Go down the gradient, with momentum."""

    sign, drawn, lasting, cast, greedy, deaf, once = -1.0, False, True, False, False, False, False

    def __init__(self, params: Any, *, lr: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rate = self.defaults["lr"] if self.once else group["lr"]
            for p in group["params"]:
                if p.grad is None:
                    if self.greedy:
                        p.mul_(0.99)
                    continue
                state = self.state[p] if self.lasting else vars(self).setdefault("own", {}).setdefault(p, {})
                state["m"] = group["momentum"] * state.get("m", torch.zeros_like(p)) + p.grad
                p.add_(state["m"] + (torch.rand(()) if self.drawn else 0), alpha=self.sign * rate)
                if self.cast:
                    p.div_(p.grad.abs().min() * 0)
        return None if self.deaf else loss


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        ({"sign": 1.0}, "descends"),
        ({"once": True}, "the_rate_is_read_at_every_step"),
        ({"greedy": True}, "weights_without_a_gradient_stay"),
        ({"lasting": False}, "goes_on_from_its_state"),
        ({"drawn": True}, "same_draws_give_the_same"),
        ({"deaf": True}, "takes_a_closure"),
        ({"cast": True}, "low_precision_stays_finite"),
    ],
)
def test_a_fault_of_an_optimiser_is_caught(fault, promise, held):
    for check in held(Descent, "guard").values():
        check()
    with pytest.raises(AssertionError):
        held(type("Faulty", (Descent,), {**fault, "__doc__": "Go astray."}), "guard")[promise]()


@dataclass(frozen=True)
class Solution:
    """What a solver gives."""

    x: Any
    value: float
    iterations: int
    error: float
    certificate: Reading


MATRIX, TARGET = np.random.default_rng(0).normal(size=(20, 4)), np.random.default_rng(1).normal(size=20)


def descent(rows: np.ndarray, target: np.ndarray, fault: str, max_iter: int) -> Any:
    """Ridge regression by gradient descent; the loss is strongly convex, so |gradient|² / 2 bounds what is left."""
    x, step = np.zeros(rows.shape[1]), 1 / (np.linalg.norm(rows, 2) ** 2 + 1)
    slope = lambda x: rows.T @ (rows @ x - target) + x  # noqa: E731
    for _ in range(max_iter):
        x = x - step * slope(x)
    value = float(((rows @ x - target) ** 2).sum() + (x**2).sum()) / 2
    gap = Reading(float((slope(x) ** 2).sum()) / 2)
    if fault == "draws":
        np.random.rand()
    if fault == "mutates":
        target -= 1
    found = Solution(x, value, max_iter, float(np.abs(slope(x)).max()), gap)
    changed: dict[str, Any] = {
        "not finite": {"x": x * np.nan}, "error": {"error": float("nan")}, "counts": {"iterations": 2.0}, "mute": {"error": 1.0},
        "no reason": {"certificate": Reading(float("nan"))}, "proud": {"certificate": Reading(0.0)}, "list": {"x": torch.tensor(x)},
    }  # fmt: skip
    return Solution(**{**vars(found), **changed.get(fault, {})}) if fault != "tuple" else (x, value)


def solver(fault: str = "") -> Callable[..., Solution]:
    def ridge(rows: np.ndarray, target: np.ndarray, *, max_iter: int = 40) -> Solution:
        """Solve a ridge regression."""
        return descent(rows, target, fault, max_iter)

    return ridge


def problem() -> TinyMaterials:
    return TinyMaterials(rows=lambda: MATRIX.copy(), target=lambda: TARGET.copy())


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        *((fault, "gives_a_whole_solution") for fault in ("tuple", "not finite", "error", "counts", "no reason")),
        *((fault, "leaves_its_problem_alone") for fault in ("draws", "mutates")),
        ("mute", "says_when_it_was_stopped"),
        ("proud", "its_certificate_holds"),
        ("list", "gives_the_kind_that_it_got"),
    ],
)
def test_a_fault_of_a_solver_is_caught(fault, promise, held):
    for check in held(solver(), "guard", problem).values():
        check()
    with pytest.raises(AssertionError):
        held(solver(fault), "guard", problem)[promise]()


def test_a_method_says_which_extra_it_needs_and_is_not_built_without(held, monkeypatch):
    from despur.core.build import build
    from despur.core.materials import Given

    monkeypatch.setitem(EXTRAS, "table", ("pandas", "no_such_package"))
    held(Plain, "latent", extra="table")
    with pytest.raises(
        MissingExtra, match=r"plain needs no_such_package, not installed here. Install: pip install 'despur\[table\]'"
    ):
        build("plain", Given({}))
    monkeypatch.setitem(EXTRAS, "table", ("pandas",))
    assert build("plain", Given({})).rank == 1
    with pytest.raises(UnknownName, match="no extra 'tabel'; nearest: 'table'"):
        held(Plain, "latent", extra="tabel")
