"""What cleaning an adapter is compared with: random subspaces, and where they are drawn for."""

import re
from dataclasses import replace
from typing import Any

from despur.core import Site, Subspace, layer_path
from despur.find import random_twins
from despur.flows._audit.screen import layer_site
from despur.flows._clean.weights import Work


def middle_factor(given: tuple[Subspace, ...], placed: tuple[Subspace, ...], model: Any) -> Subspace:
    """The factor that legitimate use is measured with: at a layer's output, the middle one of several."""
    path = re.compile(re.escape(layer_path(model)).replace(r"\#", r"\d+"))
    at_layers = [f for f in given if f.site.side == "out" and path.fullmatch(f.site.module)]
    if at_layers:
        return at_layers[len(at_layers) // 2]
    return replace(placed[len(placed) // 2], site=layer_site(model, 0.5))


def placed_random(
    work: Work, given: tuple[Subspace, ...], placed: tuple[Subspace, ...], middle: Site, draws: int, seed: int
) -> list[tuple[Subspace, ...]]:
    """Random subspaces for the same places, of the same ranks and shares of the activations where those were found."""
    where = [given[0].site if p.site == Site() else p.site for p in placed]
    sites = [middle if site.module == Site().module else site for site in where]
    with work.model.disable_adapter():
        return random_twins(work.model, placed, work.text, draws=draws, sites=sites, seed=seed)
