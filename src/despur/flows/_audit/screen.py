"""Everything an audit measures before its verdict: how much the adapter changes, and what few directions carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor

from despur.core import Adapter, Anatomy, Site, Subspace
from despur.core.adapter.lowrank import Core
from despur.core.errors import SiteNotFound
from despur.find import activation_differences, from_adapter
from despur.find.from_activations import factor_of
from despur.flows._audit.passages import Passages
from despur.flows.option import Option
from despur.judge.neutral import TOKENS
from despur.measure import CausalCheck, TokenShift, causal_checks, token_shift

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
        unknown: Why the roles of the adapter's maps are not known, so that its weights give no candidates; None where they are.
    """

    tokens: TokenShift
    moved: Tensor
    cores: dict[str, Core]
    candidates: dict[str, Subspace]
    checks: dict[str, CausalCheck]
    unknown: str | None = None

    @property
    def change(self) -> float:
        """KL(adapter || base) off-task, nats per token."""
        return self.tokens.change

    @property
    def evidence(self) -> dict[str, float]:
        """Kind -> figure that a `NeutralNull` judges."""
        return {TOKENS: self.tokens.share, **{n: c.sufficiency for n, c in self.checks.items()}}


def screen_settings(
    prompts: object, rows: int, tokens: int, depth: float, template: str | None = None, dtype: str = "float32"
) -> dict[str, Any]:
    """What a null and the audits that are judged by it must have in common."""
    asked = None if prompts is None else str(prompts)
    return {"prompts": asked, "rows": rows, "tokens": tokens, "depth": depth, "template": template, "dtype": dtype}


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


def screen(
    tuned: Any,
    adapter: Adapter,
    passages: Passages,
    *,
    depth: float = 0.5,
    seed: int = 0,
    roles: Mapping[str, str] | None = None,
) -> Screen:
    """Compute candidates from one half of the text and the weights, and check them causally on the other half.

    Args:
        tuned: Model with its adapter on.
        adapter: The adapter's update.
        passages: Off-task text.
        depth: Relative depth of the layer at which coordinates are exchanged.
        seed: Seed of the bootstrap.
        roles: For architectures that are not in the table; see `stream_roles`.
    """
    site = layer_site(tuned, depth)
    find, check = passages.halves()
    shift = token_shift(tuned, check.rows, starts=check.starts)
    moved = activation_differences(tuned, find.rows, [site], starts=find.starts)[site]
    candidates: dict[str, Subspace] = {}
    if float(moved.abs().max()) > 0:
        candidates["mean"] = factor_of(moved, site, how="mean", rows=len(find.rows))
        rank = min(4, len(moved) - 1)
        whole = factor_of(moved, site, rank=rank, rows=len(find.rows))
        for k in (1, 2, 4):
            if k <= rank:
                candidates[f"PCA {k}"] = Subspace(whole.read[:k], whole.write[:k], whole.center, site, whole.evidence)
    base = tuned.get_base_model()
    cores = {n: u.core() for n, u in adapter.updates.items()}
    unknown = unknown_roles(adapter, base, roles)
    for how in ("agreement", "head", "tail") if unknown is None else ():
        for factor in from_adapter(
            adapter, base, side="write", per="stream", how=how, rank=4, level=None, cores=cores, roles=roles
        ):
            candidates[f"{how} {factor.rank}"] = Subspace(
                factor.read, factor.write, factor.center, site, factor.evidence
            )
    checks = causal_checks(tuned, check.rows, candidates, n_random=0, starts=check.starts, seed=seed)
    return Screen(shift, moved, cores, candidates, checks, unknown)
