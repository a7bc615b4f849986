"""keep_inputs: the base of this very step, on the rows that were given, and no others; ldifs shares that."""

import pytest
import torch
from guarding import bound_penalty

from despur.core.errors import CannotAttach
from despur.core.model.capture import log_probs
from despur.core.model.states import as_base
from despur.guard import OwnText, keep_inputs, ldifs

ROW = OwnText(((1, 9, 30, 12, 40),), "training rows")
IDS = torch.tensor(ROW.rows)
MASK = torch.ones_like(IDS)


@torch.no_grad()
def test_kl_is_of_the_model_to_the_base_over_the_whole_vocabulary(moved):
    now = log_probs(moved, IDS, MASK)
    with as_base(moved):
        base = log_probs(moved, IDS, MASK)
    want = (now.exp() * (now - base)).sum(-1).mean().item()
    assert bound_penalty(keep_inputs(ROW, strength=1 / 3), moved).item() == pytest.approx(0.1 * want, rel=1e-4)
    other = (base.exp() * (base - now)).sum(-1).mean().item()
    assert abs(other - want) > 0.01 * want, "the control: the other way round it is another number"


@pytest.mark.parametrize("guard", [keep_inputs, ldifs])
def test_it_pulls_back_on_its_own_rows_and_leaves_training_mode(guard, moved):
    edit, elsewhere = guard(ROW), guard(OwnText(((1, 50, 51, 52, 53, 54),)))
    moved.train()
    first, other = bound_penalty(edit, moved), bound_penalty(elsewhere, moved).item()
    assert moved.training
    first.backward()
    trained = [p for p in moved.parameters() if p.grad is not None]
    size = torch.stack([p.grad.norm() for p in trained]).norm()
    with torch.no_grad():
        for p in trained:
            p -= 0.05 * p.grad / size
    fell = 1 - bound_penalty(edit, moved).item() / first.item()
    assert fell > 0.01
    assert 1 - bound_penalty(elsewhere, moved).item() / other < 0.9 * fell, "the control: other rows gain less"


@pytest.mark.parametrize("guard", [keep_inputs, ldifs])
def test_without_a_base_to_go_back_to_training_does_not_start(guard, tiny):
    with pytest.raises(CannotAttach, match="get_peft_model, or take rehearse"):
        guard(ROW).bind(tiny())
