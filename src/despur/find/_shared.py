"""Directions that many modules of an adapter share, against adapters whose modules share nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils.validation import validate_data
from torch import Tensor

from despur.core import Adapter, NormGain, Role, Site, Subspace, method
from despur.core._finder import Finder
from despur.core.errors import BadInput

Per = Literal["stream", "layer", "norm"]


@method(room="find", paper="after Gilligan-Lee et al. 2026, arXiv:2605.27676")
class SharedDirections(Finder):
    """Rank directions by how much of every group's energy lies along them.

    Each group (a module) counts alike, whatever its size, so what wins is agreement between modules and
    not one loud matrix. The null rotates every group's rows at random, their lengths and angles kept: a
    direction beats it when its agreement is above the 1 - level quantile of the null's *largest* one.
    Cost O(nulls d (sum r)²) with n = sum r rows.

        agreement(v) = mean_g ||X_g v||² / ||X_g||²

    Args:
        rank: Candidates kept, at most.
        nulls: Random rotations behind the threshold.
        level: Share of unrelated adapters in which the first candidate would pass.
        seed: Seeds the rotations.

    Attributes:
        factors_: Candidates of one direction each, best first, whether they beat the null or not.
        agreement_: (k,) their agreement.
        threshold_: What agreement the null reaches at that level.
        found_: How many of the leading candidates beat it.

    Raises:
        BadInput: no row that is not zero.

    Example:
        >>> rows = np.eye(12)[[0, 1, 0, 2, 0, 3]]
        >>> finder = SharedDirections(rank=2, nulls=40).fit(rows, groups=[0, 0, 1, 1, 2, 2])
        >>> finder.found_, finder.factors_[0].read[0].abs().argmax().item()
        (1, 0)

    Source: reconstruction from the abstract of arXiv:2605.27676.
    Differs: agreement in place of singular values; null by rotation.
    Limits: modules of one model agree a little anyway (they live in one geometry), so a neutral tune
        passes this null often: it is a screen, and the causal check decides.
    """

    def __init__(self, *, rank: int = 8, nulls: int = 100, level: float = 0.05, seed: int = 0) -> None:
        self.rank, self.nulls, self.level, self.seed = rank, nulls, level, seed

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> "SharedDirections":
        """Fit on rows X (n, d) with the module of each row in groups (n,); without groups, each row is one."""
        rows = np.asarray(validate_data(self, X, dtype=[np.float64, np.float32]), dtype=np.float64)
        labels = np.arange(len(rows)) if groups is None else np.asarray(groups)
        names = list(dict.fromkeys(labels.tolist()))
        parts = [rows[labels == g] for g in names]
        parts = [p / np.linalg.norm(p) for p in parts if np.linalg.norm(p) > 0]
        if not parts:
            raise BadInput("every row is zero, so there is no direction to find. Was the adapter trained?")
        stacked = np.concatenate(parts) / np.sqrt(len(parts))
        _, values, basis = np.linalg.svd(stacked, full_matrices=False)
        k = min(self.rank, len(values))
        self.agreement_ = values[:k] ** 2
        rng = np.random.default_rng(self.seed)
        tops = [self._null_top(parts, rng) for _ in range(self.nulls)]
        self.threshold_ = float(np.quantile(tops, 1 - self.level, method="higher")) if tops else 0.0
        beats = self.agreement_ > self.threshold_
        self.found_ = int(k if beats.all() else np.argmin(beats))
        self.factors_ = tuple(
            Subspace.orthonormal(
                torch.from_numpy(basis[i : i + 1]), method="SharedDirections", score=float(self.agreement_[i]),
                control=self.threshold_, p=float((1 + sum(t >= self.agreement_[i] for t in tops)) / (1 + len(tops))),
                n=len(parts), seed=self.seed,
            )
            for i in range(k)
        )  # fmt: skip
        return self

    @staticmethod
    def _null_top(parts: list[np.ndarray], rng: np.random.Generator) -> float:
        turned = []
        for p in parts:  # a random frame carries the same Gram matrix to random directions
            u, s, _ = np.linalg.svd(p, full_matrices=False)
            frame = np.linalg.qr(rng.standard_normal((p.shape[1], len(s))))[0]
            turned.append((u * s) @ frame.T)
        stacked = np.concatenate(turned) / np.sqrt(len(parts))
        gram = stacked @ stacked.T if stacked.shape[0] < stacked.shape[1] else stacked.T @ stacked
        return float(np.linalg.eigvalsh(gram)[-1])


def adapter_rows(adapter: Adapter, base: Any, side: str, roles: Mapping[str, str] | None = None) -> dict[Role, Tensor]:
    """Each module's scaled singular directions in coordinates of the residual stream, (r, d).

    Reading maps give what they react to on the stream before the norm; writing maps what they add to it.
    """
    modules = dict(base.named_modules())
    width = base.config.hidden_size
    rows = {}
    for name, role in adapter.roles(base, roles).items():
        if role.side != side:
            continue
        update = adapter.updates[name]
        gain = NormGain.of(modules[role.norm] if role.norm else None, width)
        rows[role] = gain.pull_back(update.reads()) if side == "read" else update.writes() * gain.gain
    return rows


def from_adapter(
    adapter: Adapter | Path | str,
    base: Any,
    *,
    side: Literal["read", "write"] = "write",
    per: Per = "stream",
    rank: int = 4,
    level: float | None = 0.05,
    nulls: int = 100,
    seed: int = 0,
    roles: Mapping[str, str] | None = None,
) -> tuple[Subspace, ...]:
    """Find the directions that an adapter's modules share, without labels and without data.

    Args:
        adapter: A PEFT folder, or an adapter already read.
        base: Its base model.
        side: What the modules read, or what they write.
        per: One basis for the whole stream, one a layer, or one a norm (each norm's readers together).
        rank: Directions in a basis, at most.
        level: False-positive rate of the null by rotation; None takes the leading `rank` directions unasked.
        nulls: Rotations behind it.
        seed: Seeds them.
        roles: For architectures that are not in the table; see `stream_roles`.

    Returns:
        One Subspace a site, those that beat the null; empty when nothing is shared.

    Raises:
        BadInput, ShapeMismatch, SiteNotFound: the adapter cannot be read, is of another base, or
            adapts a map whose role is not known.

    Example:
        >>> # factors = from_adapter("adapter/", AutoModelForCausalLM.from_pretrained("base/"))
    """
    if not isinstance(adapter, Adapter):
        adapter = Adapter.read(adapter)
        adapter.check(base)
    grouped: dict[str, dict[Role, Tensor]] = {}
    for role, rows in adapter_rows(adapter, base, side, roles).items():
        if rows.abs().max() > 0:
            grouped.setdefault(_site_name(role, per, base), {})[role] = rows
    found = []
    for name, parts in grouped.items():
        finder = SharedDirections(rank=rank, nulls=0 if level is None else nulls, level=level or 1.0, seed=seed)
        stacked = torch.cat(list(parts.values())).double().numpy()
        finder.fit(stacked, groups=[i for i, r in enumerate(parts.values()) for _ in range(len(r))])
        kept = finder.factors_ if level is None else finder.factors_[: finder.found_]
        if kept:
            site = Site(name, "in" if per == "norm" else "out")
            evidence = {
                "method": "from_adapter", "side": side, "agreement": finder.agreement_[: len(kept)].tolist(),
                "control": finder.threshold_, "level": level, "modules": len(parts), "seed": seed,
            }  # fmt: skip
            found.append(
                Subspace.orthonormal(
                    torch.cat([f.read for f in kept if isinstance(f, Subspace)]), site=site, **evidence
                )
            )
    return tuple(found)


def _site_name(role: Role, per: Per, base: Any) -> str:
    if per == "stream":
        return "*"
    if per == "norm" and role.norm is not None:
        return role.norm
    from despur.core import layer_path

    return "*" if role.layer is None else layer_path(base).replace("#", str(role.layer))
