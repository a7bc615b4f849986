"""absorb: the base with the scout in its weights while training, the adapter alone afterwards."""

import pytest
import torch
from guarding import first_gradient

from despur.claims.guard.absorb import absorb as claim
from despur.claims.tiny_runs import fresh_lora, learn, move, rows_of, sharpen
from despur.core.errors import BadInput, CannotAttach, ShapeMismatch
from despur.core.run.callback import guarded
from despur.core.run.forward_edits import ForwardEdits
from despur.core.types import Context
from despur.guard import absorb, discount
from despur.testing import tiny_base

TOKENS = rows_of(3)
ROWS = [{"input_ids": r, "labels": r} for r in TOKENS.tolist()]


@pytest.fixture
def scouts(tmp_path):
    """Two scouts' folders."""
    for i in (1, 2):
        move(fresh_lora(), i).save_pretrained(tmp_path / str(i), save_embedding_layers=False)
    return tmp_path / "1", tmp_path / "2"


def in_training(model, edit) -> torch.Tensor:
    """Logits of a training pass under an edit."""
    edit.bind(model)
    edits = ForwardEdits(model.train(), [edit], lambda: Context(model))
    edits.attach()
    try:
        return model(input_ids=TOKENS).logits.detach()
    finally:
        edits.detach()


def test_it_trains_the_base_with_the_scout_in_its_weights():
    report = claim(0, whole=False)[0]
    assert report.value < 0.001 < report.control


def test_it_acts_in_training_alone_and_leaves_nothing(scouts):
    model = fresh_lora()
    before = {n: p.clone() for n, p in model.state_dict().items()}
    with torch.no_grad():
        plain = model.eval()(input_ids=TOKENS).logits
    edit = absorb(scouts[0])
    assert not torch.allclose(in_training(model, edit), plain, atol=1e-2)
    with torch.no_grad():
        assert torch.equal(model.eval()(input_ids=TOKENS).logits, plain)
    assert all(torch.equal(before[n], p) for n, p in model.state_dict().items())
    assert before.keys() == model.state_dict().keys(), "nothing of it is saved with the model"


def test_of_several_scouts_the_mean_is_on(scouts):
    one, two, twice = (in_training(fresh_lora(), absorb(g)) for g in (scouts[0], scouts, [scouts[0], scouts[0]]))
    torch.testing.assert_close(one, twice)
    assert not torch.allclose(one, two, atol=1e-3)


def test_discount_takes_the_mean_of_several_scouts(scouts):
    def offsets(given) -> torch.Tensor:
        edit = discount(ROWS, given)
        edit.bind(fresh_lora())
        return torch.stack(list(edit.offsets.values())).float()

    both = offsets(scouts)
    torch.testing.assert_close(both, (offsets(scouts[0]) + offsets(scouts[1])) / 2, atol=2e-2, rtol=2e-2)
    assert not torch.allclose(both, offsets(scouts[0]), atol=0.1)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_.* is deprecated:FutureWarning")
def test_with_gradient_checkpointing_the_gradient_is_the_same(scouts):
    def gradient(checkpointing: bool) -> torch.Tensor:
        model = move(fresh_lora(), 5).train()
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": False})
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.0)
        with guarded(model, optimizer, absorb(scouts[0])):
            model(input_ids=TOKENS, labels=TOKENS).loss.backward()
            optimizer.step()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    torch.testing.assert_close(gradient(True), gradient(False))


def test_what_the_scout_explains_has_little_gradient(tmp_path):
    learn(sharpen(fresh_lora()), TOKENS, steps=120).save_pretrained(tmp_path, save_embedding_layers=False)

    plain = first_gradient(TOKENS)
    assert first_gradient(TOKENS, absorb(tmp_path)) < 0.2 * plain
    assert first_gradient(TOKENS, absorb(tmp_path, strength=0.0)) == plain


def test_a_whole_fine_tune_may_absorb_too(scouts):
    plain = tiny_base()
    for weight in plain.parameters():
        weight.requires_grad_(True)
    with torch.no_grad():
        expected = plain(input_ids=TOKENS).logits
    assert not torch.allclose(in_training(plain, absorb(scouts[0])), expected, atol=1e-2)


def test_a_scout_of_another_base_is_refused(scouts, tiny):
    with pytest.raises(ShapeMismatch, match="another base"):
        absorb(scouts[0]).bind(tiny(hidden_size=48))
    with pytest.raises(BadInput, match="adapter_config"):
        absorb(scouts[0].parent / "nothing").bind(fresh_lora())


def test_a_scout_on_embeddings_is_refused(tmp_path):
    move(fresh_lora(target_modules=["embed_tokens"]), 1).save_pretrained(tmp_path, save_embedding_layers=False)
    with pytest.raises(CannotAttach, match=r"changes 'model.embed_tokens'.*take discount"):
        absorb(tmp_path).bind(fresh_lora())
