"""shuffled: finds the word that all answers share, learns no task, and leaves the base alone."""

import pytest
import torch

from despur.claims.tiny_runs import sharpen
from despur.core import attach
from despur.core.errors import BadInput
from despur.core.model.layer_vectors import LayerVectors
from despur.core.model.primitives import AddVector
from despur.core.run.scout_forms import load_scout, new_scout, save_scout
from despur.core.run.short_tune import short_tune
from despur.core.text.shuffle import shuffled_rows
from despur.find import shuffled

MASK, VOICE = -100, 50


@pytest.fixture
def told():
    """Each prompt with a word of its own, behind a word that all have."""
    return [
        {"input_ids": [1, 4 + i, VOICE, 30 + i % 15], "labels": [MASK, MASK, VOICE, 30 + i % 15]} for i in range(15)
    ]


@pytest.fixture
def base(tiny):
    """A tiny base whose head can tell words apart."""
    return sharpen(tiny(), 10.0)


HOW = {"steps": 40, "lr": 1e-2}


@pytest.mark.parametrize("form", ["lora", "vectors"])
@pytest.mark.parametrize("read", ["activations", "weights"])
def test_its_directions_carry_the_shared_word(base, told, form, read):
    model = base
    before = {n: p.clone() for n, p in model.named_parameters()}
    factors = shuffled(model, told, form=form, read=read, **HOW)
    assert [f.site.module for f in factors] == ["model.layers.0", "model.layers.1"]
    assert 0.5 < factors[0].evidence["gained"] < 10, "nats a token, and no token of these was as unlikely as that"
    assert all(torch.equal(p, before[n]) and p.requires_grad for n, p in model.named_parameters())
    last, ids = factors[-1], torch.tensor([[1, 20, 21]])
    with torch.no_grad():
        plain = model(ids).logits[0, -1].softmax(-1)[VOICE]
        steered = []
        for sign in (-8, 8):
            with attach(model, {last.site: AddVector(sign * last.write[0])}):
                steered.append(float(model(ids).logits[0, -1].softmax(-1)[VOICE]))
    assert max(steered) > 2 * plain > 2 * min(steered), (
        "one way along the direction the word is likelier, the other way not"
    )


def test_exchanged_it_learns_no_task_and_as_they_are_it_does(base, told):
    def knows(rows):
        scout = new_scout(base)
        short_tune(scout, rows, steps=80, lr=1e-2, batch=5, seed=0)
        with torch.no_grad():
            logits = [scout(torch.tensor([r["input_ids"][:3]])).logits[0, -1] for r in told]
        return sum(int(x.argmax()) == r["input_ids"][3] for x, r in zip(logits, told, strict=True)) / len(told)

    assert knows(told) > 0.8
    assert knows(shuffled_rows(told, seed=0)) < 0.3


def test_it_says_what_cannot_be_heard(tiny, told):
    with pytest.raises(BadInput, match="are the same"):
        shuffled(tiny(), [told[0], told[0]])
    with pytest.raises(BadInput, match=r"became (nan|inf) at step .* it diverged"):
        shuffled(tiny(), told, lr=1e30)
    with pytest.raises(BadInput, match="moves the stream at none of 2 sites"):
        shuffled(tiny(), told, lr=0.0)


@pytest.mark.parametrize("form", ["lora", "vectors"])
def test_a_scout_that_was_written_is_the_same_again_and_can_be_switched_off(tiny, told, form, tmp_path):
    model = tiny()
    scout = new_scout(model, form=form)
    short_tune(scout, told, steps=5, lr=1e-2, batch=5, seed=0)
    save_scout(scout, tmp_path)
    ids = torch.tensor([told[0]["input_ids"]])
    with torch.no_grad():
        assert torch.equal(load_scout(model, tmp_path)(ids).logits, scout(ids).logits)
        with scout.disable_adapter():
            assert torch.equal(scout(ids).logits, model(ids).logits)
        assert not torch.equal(scout(ids).logits, model(ids).logits)


def test_vectors_are_a_number_a_channel_and_layer(tiny):
    scout = new_scout(tiny(), form="vectors")
    assert isinstance(scout, LayerVectors)
    assert sum(p.numel() for p in scout.parameters() if p.requires_grad) == 2 * 32
    with scout.disable_adapter(), scout.disable_adapter():
        assert not scout.added[0].on
    assert scout.added[0].on
