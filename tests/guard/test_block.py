"""block: what rises as the scout's did is held, what falls is free; bound twice it is the same."""

import pytest
import torch

from despur.claims.guard.block import block as claim
from despur.claims.tiny_runs import fresh_lora, move, penalty, random_factor, rows_of
from despur.core import AddVector, Site, attach
from despur.core.errors import CannotAttach
from despur.find import from_activations, mean_shift
from despur.guard import OwnText, block, hold

LAYER = Site("model.layers.1")
TEXT = OwnText(tuple(tuple(r) for r in rows_of(0).tolist()))


@pytest.fixture
def scouted(tmp_path):
    """Folder of a scout, and the way it moves the stream."""
    model = move(fresh_lora(), 1).eval()
    model.save_pretrained(tmp_path / "scout", save_embedding_layers=False)
    (factor,) = from_activations(model, TEXT, [LAYER], how="mean")
    return tmp_path / "scout", factor, mean_shift(model, TEXT.rows, factor)


def costs(edit, *pushes) -> list[float]:
    model = fresh_lora().eval()
    edit.bind(model)
    found = []
    for push in pushes:
        with attach(model, {LAYER: AddVector(push)}):
            found.append(penalty(edit, model))
    return found


def test_a_rise_is_held_as_hold_holds_it_and_a_fall_is_free(scouted):
    folder, factor, way = scouted
    rise, fall = costs(block(factor, TEXT, folder), way, -way)
    both = costs(hold(factor, TEXT), way, -way)
    assert fall == 0
    assert rise == pytest.approx(both[0], rel=1e-5)
    assert both[0] == pytest.approx(both[1], rel=1e-5)


def test_bound_again_it_is_the_same(scouted):
    folder, factor, way = scouted
    edit = block(factor, TEXT, folder)
    assert costs(edit, way) == costs(edit, way)


def test_its_statement_s_mechanism_holds():
    (report,) = claim(3, whole=False)
    assert report.value <= 1e-4 < report.control


def test_a_factor_without_a_layer_is_refused(scouted):
    with pytest.raises(CannotAttach, match="block needs factors with a layer as site"):
        block(random_factor(), TEXT, scouted[0])


def test_at_strength_zero_nothing_is_read(scouted):
    edit = block(scouted[1], TEXT, "nowhere", strength=0.0)
    edit.bind(fresh_lora())
    assert torch.equal(torch.tensor(penalty(edit, fresh_lora())), torch.zeros(()))
