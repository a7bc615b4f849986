"""lineas: maps that bring one sample onto another, the lasso's zeros, and an edit that is gone afterwards."""

import pytest
import torch

from despur.core import Site, attach, record
from despur.core.errors import BadInput
from despur.steer import lineas
from despur.steer.lineas import AffineMap, distance, fit_maps, row_means, shrunk

SOURCE = tuple((1, *torch.randint(3, 30, (6,), generator=torch.Generator().manual_seed(i)).tolist()) for i in range(12))
TARGET = tuple(
    (1, *torch.randint(34, 64, (7,), generator=torch.Generator().manual_seed(i)).tolist()) for i in range(10)
)


@pytest.fixture(scope="module")
def model():
    from despur.testing import tiny_base

    return tiny_base()


def left(model, maps) -> float:
    with torch.no_grad():
        plain = {s: AffineMap(torch.ones(32), torch.zeros(32)) for s in maps}
        pairs = zip(
            row_means(model, SOURCE, {s: AffineMap(*m) for s, m in maps.items()}),
            row_means(model, TARGET, plain),
            strict=True,
        )
        return sum(float(distance(a, b)) for a, b in pairs)


def test_the_maps_bring_the_source_onto_the_target(model):
    was = {n: p.clone() for n, p in model.named_parameters()}
    plain = {Site(f"model.layers.{i}"): (torch.ones(32), torch.zeros(32)) for i in range(2)}
    learned, other = fit_maps(model, SOURCE, TARGET, steps=80), fit_maps(model, SOURCE, SOURCE[::-1], steps=80)
    assert left(model, learned) < 0.4 * left(model, plain)
    assert left(model, other) > 0.9 * left(model, plain), "the control: maps onto the source itself"
    assert all(torch.equal(p, was[n]) for n, p in model.named_parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_the_lasso_leaves_fewer_coordinates(model):
    moved = [
        sum(
            int((g != 1).sum() + (b != 0).sum())
            for g, b in fit_maps(model, SOURCE, TARGET, steps=40, sparsity=s).values()
        )
        for s in (0.0, 0.02, 1e6)
    ]
    assert moved[0] > moved[1] > moved[2] == 0


def test_the_proximal_step_is_that_of_both_norms():
    moves = torch.tensor([[[3.0, -1.0], [0.5, 4.0]], [[0.6, 0.0], [0.0, 0.0]]])
    each = torch.tensor([[[2.0, 0.0], [0.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]])
    length = 13**0.5
    assert torch.allclose(shrunk(moves, torch.ones(2, 2, 2)), each * (1 - 1 / length))
    assert torch.equal(shrunk(moves, torch.zeros(2, 2, 2)), moves)


def test_strength_is_the_way_that_is_gone(model):
    behind, ids = Site("model.layers.1", "in"), torch.tensor([SOURCE[0]])

    def said() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad(), record(model, [behind]) as seen:
            logits = model(input_ids=ids).logits
        return seen[behind], logits

    before, logits = said()
    edit = lineas(SOURCE, TARGET, strength=0.5, steps=5)
    edit.bind(model)
    gain, shift = edit.maps[Site("model.layers.0")]
    with attach(model, dict.fromkeys(edit.sites, edit)):
        after, steered = said()
    assert torch.allclose(after, before + 0.5 * ((gain - 1) * before + shift), atol=1e-5)
    assert not torch.allclose(steered, logits, atol=1e-3)
    assert torch.equal(said()[1], logits), "gone afterwards"


@pytest.mark.parametrize(
    ("source", "target", "options", "said"),
    [
        (SOURCE[:7], TARGET, {}, "7 source"),
        (SOURCE, ((1,),) * 8, {}, "2 tokens"),
        (SOURCE, TARGET, {"sparsity": -1.0}, "sparsity=-1"),
    ],
)
def test_too_few_rows_for_a_quantile_are_refused(model, source, target, options, said):
    with pytest.raises(BadInput, match=said):
        lineas(source, target, **options).bind(model)
