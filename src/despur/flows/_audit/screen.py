"""Everything an audit measures before its verdict: how much the adapter changes, and what few directions carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from despur.core import Adapter, Anatomy, Site, Subspace
from despur.core.adapter.lowrank import Core
from despur.core.errors import SiteNotFound
from despur.find import activation_differences, from_adapter
from despur.find.from_activations import factor_of
from despur.flows._audit.passages import Passages
from despur.flows.option import Option
from despur.flows.text_files import text_spec
from despur.judge.neutral import TOKENS
from despur.measure import CausalCheck, TokenShift, causal_checks, token_shift
from despur.measure.both import Both

# an audit and the null that judges it share these options
Rows = Annotated[int, Option(low=4)]
Tokens = Annotated[int, Option(low=1)]
Depth = Annotated[float, Option(low=0, high=1)]


@dataclass(frozen=True)
class Screen:
    """What was measured.

    Args:
        tokens: Change of token use.
        moved: Adapter minus base at the layer, on the half of the text that candidates were computed on (n, d).
        cores: Decomposition of each module's update.
        candidates: Directions that compete, all at one layer.
        checks: The causal check of each, without random subspaces.
        passes: Base and adapter on the half of the text that they were checked on.
        unknown: Why the roles of the adapter's maps are not known, so that its weights give no candidates; None where they are.
        notes: Where the adapter moves less than an audit looks at.
    """

    tokens: TokenShift
    moved: Tensor
    cores: dict[str, Core]
    candidates: dict[str, Subspace]
    checks: dict[str, CausalCheck]
    passes: Both
    unknown: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def change(self) -> float:
        """KL(adapter || base) off-task, nats per token."""
        return self.tokens.change

    @property
    def evidence(self) -> dict[str, float]:
        """Kind -> figure that a `NeutralNull` judges."""
        return {TOKENS: self.tokens.share, **{n: c.sufficiency for n, c in self.checks.items()}}


def screen_settings(
    prompts: Path | str | None,
    rows: int,
    tokens: int,
    depth: float,
    template: str | None = None,
    dtype: str = "float32",
) -> dict[str, Any]:
    """What a null and the audits that are judged by it must have in common."""
    return {
        "prompts": prompts and text_spec(prompts),
        "rows": rows,
        "tokens": tokens,
        "depth": depth,
        "template": template,
        "dtype": dtype,
    }


def unknown_roles(adapter: Adapter, base: Any, roles: Mapping[str, str] | None) -> str | None:
    """Why the roles of an adapter's maps are not known; None where they are.

    Raises:
        SiteNotFound: roles were stated, and do not fit.
    """
    try:
        adapter.roles(base, roles)
    except SiteNotFound as error:
        if roles is not None:
            raise
        return str(error)
    return None


def layer_site(model: Any, depth: float) -> Site:
    """The decoder layer at a relative depth in [0, 1]."""
    anatomy = Anatomy.of(model)
    return anatomy.sites[max(0, round(depth * anatomy.depth) - 1)]


def layer_moved(tuned: Any, passages: Passages, depth: float) -> tuple[Site, Tensor, tuple[str, ...]]:
    """The layer that is analysed, adapter minus base there (n, d), and a note where it is another than asked for.

    That at a relative depth in [0, 1]; where the adapter moves nothing there, the first behind it at which it does.
    """
    sites, asked = Anatomy.of(tuned).sites, layer_site(tuned, depth)
    moved = torch.empty(0)
    for site in sites[sites.index(asked) :]:
        moved = activation_differences(tuned, passages.rows, [site], starts=passages.starts)[site]
        if moved.any():
            break
    else:
        note = f"the adapter moves the stream at no layer from {asked.module} on, so there are no directions to compare"
        return asked, moved, (note,)
    if site == asked:
        return site, moved, ()
    note = f"the adapter moves nothing at {asked.module}, so the first layer behind it was analysed at which it does: {site.module}"
    return site, moved, (f"{note}; neutral tunes in a null were measured at the former",)


def screen(
    tuned: Any,
    adapter: Adapter,
    passages: Passages,
    *,
    depth: float = 0.5,
    seed: int = 0,
    roles: Mapping[str, str] | None = None,
    necessity: bool = True,
) -> Screen:
    """Compute candidates from one half of the text and the weights, and check them causally on the other half.

    Args:
        tuned: Model with its adapter on.
        adapter: The adapter's update.
        passages: Off-task text.
        depth: Relative depth of the layer at which coordinates are exchanged; see `layer_moved`.
        seed: Seed of the bootstrap.
        roles: For architectures that are not in the table; see `stream_roles`.
        necessity: Whether it is measured of every candidate; evidence does not need it.
    """
    find, check = passages.halves()
    site, moved, notes = layer_moved(tuned, find, depth)
    passes = Both(tuned, check.rows, site, starts=check.starts)
    shift = token_shift(tuned, check.rows, starts=check.starts, passes=passes)
    base = tuned.get_base_model()
    cores = {n: u.core() for n, u in adapter.updates.items()}
    unknown = unknown_roles(adapter, base, roles)
    if not moved.any():
        return Screen(shift, moved, cores, {}, {}, passes, unknown, notes)
    whole = factor_of(moved, site, rank=4, rows=len(find.rows))
    candidates = {"mean": factor_of(moved, site, how="mean", rows=len(find.rows))}
    for k in (1, 2, 4):
        if k <= whole.rank:
            candidates[f"PCA {k}"] = Subspace(whole.read[:k], whole.write[:k], whole.center, site, whole.evidence)
    if whole.rank < 4:
        few = "1 direction" if whole.rank == 1 else f"{whole.rank} directions"
        notes += (
            f"the adapter moves {site.module} in {few} only, so few directions carry its change by construction: only neutral tunes of "
            "the same modules and rank can judge it",
        )
    for how in ("agreement", "head", "tail") if unknown is None else ():
        for factor in from_adapter(
            adapter, base, side="write", per="stream", how=how, rank=4, level=None, cores=cores, roles=roles
        ):
            candidates[f"{how} {factor.rank}"] = Subspace(
                factor.read, factor.write, factor.center, site, factor.evidence
            )
    checks = causal_checks(
        tuned, check.rows, candidates, n_random=0, starts=check.starts, seed=seed, passes=passes, necessity=necessity
    )
    return Screen(shift, moved, cores, candidates, checks, passes, unknown, notes)
