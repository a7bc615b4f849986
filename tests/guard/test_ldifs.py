"""ldifs: the stream itself, relative to its own length, every so many layers."""

import pytest
import torch
from guarding import bound_penalty

from despur.core import Site, record
from despur.core.errors import BadInput
from despur.core.model.capture import log_probs
from despur.core.model.states import as_base
from despur.guard import OwnText, ldifs

ROW = OwnText(((1, 9, 30, 12, 40),), "training rows")
IDS = torch.tensor(ROW.rows)
MASK = torch.ones_like(IDS)


@torch.no_grad()
@pytest.mark.parametrize(("every", "layers"), [(5, [4]), (2, [1, 3, 5]), (9, [5])])
def test_it_is_the_relative_distance_of_every_so_many_layers(every, layers, moved):
    sites = [Site(f"model.layers.{i}") for i in range(6)]
    with record(moved, sites) as seen:
        log_probs(moved, IDS, MASK)
        now = [seen[s].clone() for s in sites]
        with as_base(moved):
            log_probs(moved, IDS, MASK)
        off = [
            ((x - seen[s]).norm(dim=-1) / seen[s].norm(dim=-1)).square().mean() for x, s in zip(now, sites, strict=True)
        ]
    got = bound_penalty(ldifs(ROW, every=every, strength=2.0), moved).item()
    scale = got / sum(off[i].item() for i in layers) * len(layers)
    assert scale == pytest.approx(
        bound_penalty(ldifs(ROW, every=1, strength=2.0), moved).item() / (sum(off).item() / 6), rel=1e-3
    )
    assert got != pytest.approx(scale * off[0].item(), rel=1e-2), "the control: another layer is off by another share"


def test_no_layer_is_refused():
    with pytest.raises(BadInput, match="every=0"):
        ldifs(ROW, every=0)
