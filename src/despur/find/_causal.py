"""Is a factor what carries the change? Exchange its coordinates between adapter and base, and see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from despur.core import Subspace, SwapCoordinates, attach, record
from despur.core._capture import capture, log_probs
from despur.core._rows import batches
from despur.core.errors import BadInput

INERT = 1e-6  # nats a token: below it the adapter does nothing off-task


@dataclass(frozen=True)
class CausalCheck:
    """What the exchange showed, each as a share of the adapter's whole off-task change.

    Args:
        change: KL(adapter || base) off-task, nats a token; `INERT` or less means there is nothing to explain.
        sufficiency: Share of the change that the factor's coordinates alone bring into the base.
        necessity: Share that goes when they are put back to the base's inside the adapter.
        interval: 95 % of the sufficiency, bootstrap over rows.
        random_sufficiency: The same for each random subspace of equal rank and activation share.
        random_necessity: Likewise.
        rank: Directions exchanged.
        site: Where.
        rows: Rows of text behind it.
        share: Share of the base's activation variance that the factor holds.
        random_share: Mean share that the random subspaces hold: equal to `share`, or the match failed.
    """

    change: float
    sufficiency: float
    necessity: float
    interval: tuple[float, float]
    random_sufficiency: tuple[float, ...]
    random_necessity: tuple[float, ...]
    rank: int
    site: str
    rows: int
    share: float
    random_share: float

    @property
    def beats_random(self) -> bool:
        """Whether the interval lies above every random subspace; False where none was drawn."""
        return self.change > INERT and self.interval[0] > max(self.random_sufficiency, default=1.0)


def matched_random(factor: Subspace, covariance: Float[Tensor, "d d"], *, generator: torch.Generator) -> Subspace:
    """Draw a random subspace of the same rank that holds the same share of activation variance.

    Gaussian directions are tilted by a power of the covariance, found by bisection, until the share fits.

    Args:
        factor: What to match.
        covariance: Of the activations at the site (d, d).
        generator: Source of the draw.

    Example:
        >>> factor = Subspace.orthonormal(torch.eye(1, 4))
        >>> drawn = matched_random(factor, torch.diag(torch.tensor([4.0, 1, 1, 1])), generator=torch.Generator().manual_seed(0))
        >>> round(float(drawn.read @ torch.diag(torch.tensor([4.0, 1, 1, 1])) @ drawn.read.T), 2)
        4.0
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    values = values.clamp(min=float(values.max()) * 1e-9)
    target = activation_share(factor, covariance)
    noise = torch.randn(factor.width, factor.rank, generator=generator, dtype=torch.float64)

    def tilted(power: float) -> Tensor:
        return torch.linalg.qr((values / values.max())[:, None] ** power * noise).Q

    low, high = -4.0, 4.0
    for _ in range(50):
        middle = (low + high) / 2
        q = tilted(middle)
        share = float((values[:, None] * q.square()).sum() / values.sum())
        low, high = (middle, high) if share < target else (low, middle)
    return Subspace.orthonormal((vectors @ tilted((low + high) / 2)).T, site=factor.site, method="matched_random")


def activation_share(factor: Subspace, covariance: Float[Tensor, "d d"]) -> float:
    """Share of the activations' variance inside the factor, in [0, 1]."""
    v = factor.read.double()
    return float((v @ covariance.double() @ v.T).trace() / covariance.double().trace())


@torch.no_grad()
def causal_check(
    model: Any,
    rows: Sequence[Sequence[int]],
    factor: Subspace,
    *,
    n_random: int = 20,
    batch: int = 16,
    seed: int = 0,
) -> CausalCheck:
    """Measure how much of an adapter's off-task change goes through a factor.

    At the factor's site its coordinates are exchanged between the adapter and the base on the same text.
    Costs (2 + 2 (n_random + 1)) forward passes.

        sufficiency = 1 - KL(adapter || base with V from the adapter) / KL(adapter || base)
        necessity   = 1 - KL(adapter with V from the base || base) / KL(adapter || base)

    Args:
        model: PEFT model.
        rows: Off-task token rows.
        factor: Its site names one layer.
        n_random: Random subspaces of the same rank and activation share.
        batch: Rows in one forward pass.
        seed: Seeds the random subspaces and the bootstrap.

    Returns:
        Shares with interval and controls. Where the adapter changes nothing off-task, the shares are 0.

    Raises:
        BadInput: no adapter to switch off, no rows, or the exchange of the whole stream fails to carry
            the change (then the site is not on the way to the output, and no share would mean a thing).

    Example:
        >>> # causal_check(peft_model, own_text.rows, factor).sufficiency
    """
    if not hasattr(model, "disable_adapter"):
        raise BadInput(
            "the causal check needs a PEFT model, to switch its adapter off. Load it with PeftModel.from_pretrained"
        )
    if not rows:
        raise BadInput("the causal check got no rows of text. Give --prompts, or let the base write some")
    site = factor.site
    with model.disable_adapter():
        plain, _ = capture(model, rows, [site], batch=batch)
    covariance = torch.cov(plain[site].T)
    generator = torch.Generator().manual_seed(seed)
    randoms = [matched_random(factor, covariance, generator=generator) for _ in range(n_random)]
    whole = Subspace.orthonormal(torch.eye(factor.width), site=site)
    subspaces = [whole, factor, *randoms]
    # per row: KL sums and tokens
    change = np.zeros(len(rows))
    tokens = np.zeros(len(rows))
    left_base = np.zeros((len(subspaces), len(rows)))
    left_adapter = np.zeros((len(subspaces), len(rows)))
    device = next(model.parameters()).device
    model.eval()
    for ids, mask, chosen in batches(rows, size=batch, pad=0):
        ids, mask = ids.to(device), mask.to(device)
        with record(model, [site]) as seen:
            tuned = log_probs(model, ids, mask)
            h_tuned = seen[site]
            with model.disable_adapter():
                base = log_probs(model, ids, mask)
            h_base = seen[site]
        change[chosen] = _kl(tuned, base, mask)
        tokens[chosen] = mask.sum(1).cpu().numpy()
        for i, subspace in enumerate(subspaces):
            with model.disable_adapter(), attach(model, {site: SwapCoordinates(subspace, h_tuned)}):
                left_base[i, chosen] = _kl(tuned, log_probs(model, ids, mask), mask)
            with attach(model, {site: SwapCoordinates(subspace, h_base)}):
                left_adapter[i, chosen] = _kl(log_probs(model, ids, mask), base, mask)
    total = change.sum()
    inert = float(total / tokens.sum()) <= INERT
    if not inert and np.allclose(left_base[0], change, rtol=1e-4):
        raise BadInput(
            f"exchanging the whole stream at {site.module!r} changes no output: nothing downstream reads this site"
        )
    draws = np.random.default_rng(seed).integers(len(rows), size=(2000, len(rows)))
    if inert:  # nothing to explain, so nothing is explained: shares of rounding errors would mean nothing
        sufficiency = necessity = np.zeros(len(subspaces))
        low = high = 0.0
    else:
        sufficiency = 1 - left_base.sum(1) / total
        necessity = 1 - left_adapter.sum(1) / total
        boot = 1 - left_base[1][draws].sum(1) / np.maximum(change[draws].sum(1), 1e-300)
        low, high = np.quantile(boot, [0.025, 0.975])
    return CausalCheck(
        change=float(total / tokens.sum()),
        sufficiency=float(sufficiency[1]),
        necessity=float(necessity[1]),
        interval=(float(low), float(high)),
        random_sufficiency=tuple(sufficiency[2:].tolist()),
        random_necessity=tuple(necessity[2:].tolist()),
        rank=factor.rank,
        site=site.module,
        rows=len(rows),
        share=activation_share(factor, covariance),
        random_share=float(np.mean([activation_share(r, covariance) for r in randoms] or [0.0])),
    )


def _kl(p: Tensor, q: Tensor, mask: Tensor) -> np.ndarray:
    return ((p.exp() * (p - q)).sum(-1) * mask).sum(1).cpu().numpy()
