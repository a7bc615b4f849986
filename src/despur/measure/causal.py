"""Is a factor what carries the change? Exchange its coordinates between adapter and base to find out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from despur.core import Subspace
from despur.core.errors import BadInput
from despur.core.model.matched import Axes, activation_share, matched_random
from despur.core.model.states import check_switchable
from despur.measure._exchange import exchange
from despur.measure.both import Both

INERT = 1e-6  # nats per token: below it the adapter does nothing off-task


@dataclass(frozen=True)
class CausalCheck:
    """What the exchange showed, each as a share of the adapter's whole off-task change.

    Args:
        change: KL(adapter || base) off-task, nats per token; `INERT` or less means there is nothing to explain.
        sufficiency: Share of the change that the factor's coordinates alone cause in the base.
        necessity: Share that vanishes when they are set to the base's inside the adapter; None where it was not measured.
        interval: 95 % of the sufficiency, bootstrap over rows.
        random_sufficiency: The same for each random subspace of equal rank and activation share.
        rank: Directions exchanged.
        site: Where.
        rows: Rows of text behind it.
        share: Share of the base's activation variance in the factor.
        random_share: Mean share in the random subspaces: equal to `share`, or the match failed.
    """

    change: float
    sufficiency: float
    necessity: float | None
    interval: tuple[float, float]
    random_sufficiency: tuple[float, ...]
    rank: int
    site: str
    rows: int
    share: float
    random_share: float

    @property
    def beats_random(self) -> bool:
        """Whether the interval lies above every random subspace; False where none was drawn."""
        return self.change > INERT and self.interval[0] > max(self.random_sufficiency, default=1.0)


def causal_check(
    model: Any,
    rows: Sequence[Sequence[int]],
    factor: Subspace,
    *,
    n_random: int = 20,
    batch: int | None = None,
    starts: Sequence[int] | None = None,
    seed: int = 0,
) -> CausalCheck:
    """Measure how much of an adapter's off-task change goes through a factor; `causal_checks` for one.

    Args:
        model: PEFT model.
        rows: Off-task token rows.
        factor: Its site names one layer.
        n_random: Number of random subspaces of the same rank and activation share.
        batch: Rows in one forward pass; as many as fit if None.
        starts: First position of each row that counts.
        seed: Seeds the random subspaces and the bootstrap.

    Raises:
        BadInput: see `causal_checks`.

    Example:
        >>> # causal_check(peft_model, own_text.rows, factor).sufficiency
    """
    checks = causal_checks(model, rows, {"factor": factor}, n_random=n_random, batch=batch, starts=starts, seed=seed)
    return checks["factor"]


@torch.no_grad()
def causal_checks(
    model: Any,
    rows: Sequence[Sequence[int]],
    factors: Mapping[str, Subspace],
    *,
    n_random: int = 20,
    batch: int | None = None,
    starts: Sequence[int] | None = None,
    seed: int = 0,
    passes: Both | None = None,
    necessity: bool = True,
) -> dict[str, CausalCheck]:
    """Measure how much of an adapter's off-task change goes through each of some factors at one layer.

    At the site their coordinates are exchanged between the adapter and the base on the same text.
    Costs 3 + f (n_random + 2) forward passes for f factors, all but two from the site on where the architecture is known;
    adapter and base are run once in all, tokens that all rows begin with once for all rows, and small models compute several
    exchanges per pass.

        sufficiency = 1 - KL(adapter || base with V from the adapter) / KL(adapter || base)
        necessity   = 1 - KL(adapter with V from the base || base) / KL(adapter || base)

    Args:
        model: PEFT model, or anything else whose adapter `disable_adapter()` switches off.
        rows: Off-task token rows.
        factors: By name, all at one site.
        n_random: Random subspaces of the same rank and activation share beside each factor.
        batch: Rows in one forward pass; as many as fit if None.
        starts: First position of each row that counts.
        seed: Seeds the random subspaces and the bootstrap.
        passes: Base and adapter on these rows at the factors' site, where they were run before.
        necessity: Exchange each factor the other way, too, a pass more a factor; without it there is no such figure.

    Returns:
        Shares with interval and controls. Where the adapter changes nothing off-task, the shares are 0.

    Raises:
        BadInput: no adapter to switch off, no rows, factors at several sites, or the exchange of the whole
            stream fails to carry the change (then the site is not on the way to the output, and no
            share would mean anything).

    Example:
        >>> # causal_checks(peft_model, own_text.rows, {"PCA 1": first, "PCA 4": four})["PCA 4"].sufficiency
    """
    check_switchable(model, "the causal check")
    if not rows:
        raise BadInput("the causal check got no rows of text. Give --prompts, or let the base write some")
    sites = {factor.site for factor in factors.values()}
    if len(sites) != 1:
        raise BadInput(f"the causal check got factors at {len(sites)} sites; all must be at one. Call it once per site")
    (site,) = sites
    passes = passes or Both(model, rows, site, starts=starts, batch=batch)
    covariance = torch.cov(passes.base_stream().T)
    subspaces = [Subspace.orthonormal(torch.eye(covariance.shape[0]), site=site)]
    axes = Axes.of(covariance) if n_random else None
    for factor in factors.values():
        generator = torch.Generator().manual_seed(seed)
        matched = (matched_random(factor, covariance, generator=generator, axes=axes) for _ in range(n_random))
        subspaces += [factor, *matched]
    firsts = range(1, len(subspaces), n_random + 1)
    back = firsts if necessity else ()
    per_row = exchange(model, rows, site, subspaces, passes.batch, starts, back, passes)
    total = per_row.change.sum()
    inert = float(total / per_row.tokens.sum()) <= INERT
    if not inert and np.allclose(per_row.left_base[0], per_row.change, rtol=1e-4):
        raise BadInput(
            f"exchanging the whole stream at {site.module!r} changes no output: nothing downstream reads this site"
        )
    draws = np.random.default_rng(seed).integers(len(rows), size=(2000, len(rows)))
    checks = {}
    for i, (name, factor) in enumerate(factors.items()):
        first = firsts[i]
        block = slice(first, first + n_random + 1)
        if inert:  # nothing to explain, so nothing is explained: shares of rounding errors would mean nothing
            sufficiency, needed, low, high = np.zeros(n_random + 1), 0.0, 0.0, 0.0
        else:
            sufficiency = 1 - per_row.left_base[block].sum(1) / total
            needed = float(1 - per_row.left_adapter[i].sum() / total) if necessity else None
            boot = 1 - per_row.left_base[first][draws].sum(1) / np.maximum(per_row.change[draws].sum(1), 1e-300)
            low, high = np.quantile(boot, [0.025, 0.975])
        shares = [activation_share(r, covariance) for r in subspaces[first + 1 : block.stop]]
        checks[name] = CausalCheck(
            change=float(total / per_row.tokens.sum()),
            sufficiency=float(sufficiency[0]),
            necessity=needed,
            interval=(float(low), float(high)),
            random_sufficiency=tuple(sufficiency[1:].tolist()),
            rank=factor.rank,
            site=site.module,
            rows=len(rows),
            share=activation_share(factor, covariance),
            random_share=float(np.mean(shares or [0.0])),
        )
    return checks
