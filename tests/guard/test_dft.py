"""dft: the gradient is the formula's, whatever the padding; where the head does not give every position the run stops."""

import pytest
import torch

from despur.claims.guard.dft import dft as claim
from despur.claims.guard.dft import gradient
from despur.claims.tiny_runs import fresh_lora, learn, move, rows_of, sharpen
from despur.core import Context
from despur.core.errors import BadInput, CannotAttach
from despur.core.run.forward_edits import ForwardEdits
from despur.guard import dft


def under(edit, model, ids, labels) -> torch.Tensor:
    edit.bind(model)
    edits = ForwardEdits(model.train(), [edit], lambda: Context(model))
    edits.attach()
    try:
        return gradient(model, model(input_ids=ids, labels=labels).loss)
    finally:
        edits.detach()


def test_the_gradient_is_the_formula_s():
    (report,) = claim(4, whole=False)
    assert report.value < 1e-4
    assert report.control > 0.1


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_of_learned_tokens_alone_and_by_its_share(strength):
    model, ids = sharpen(move(fresh_lora(), 2), 5.0), rows_of(2)
    labels = ids.clone()
    labels[:, :3] = -100
    labels[1, 6:] = -100  # padding, say
    logits = model.train()(input_ids=ids).logits[:, :-1]
    logp = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])[..., 0]
    weight = 1 - strength + strength * logp.exp().detach()
    counts = labels[:, 1:] != -100
    wanted = gradient(model, -(weight * logp)[counts].mean())
    torch.testing.assert_close(under(dft(strength=strength), model, ids, labels), wanted, rtol=1e-3, atol=1e-6)


def test_at_strength_zero_training_is_bit_identical():
    ids = rows_of()
    plain, same = (learn(fresh_lora(), ids, *edits) for edits in ((), (dft(strength=0.0),)))
    other = learn(fresh_lora(), ids, dft())
    for name, value in plain.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
    assert any(not torch.equal(value, other.state_dict()[name]) for name, value in plain.state_dict().items()), (
        "it acts"
    )


def test_some_positions_alone_and_no_share_are_refused():
    model, ids = fresh_lora(), rows_of()
    edit = dft()
    edit.bind(model)
    with pytest.raises(CannotAttach, match=r"no logits_to_keep.*TRL's own"):
        edit({edit.words.module: ids, edit.head.module: torch.zeros(4, 2, 64)}, Context(model))
    with pytest.raises(BadInput, match="strength=1.5; it is a share"):
        dft(strength=1.5)
