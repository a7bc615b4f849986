"""The axes without labels: what the model does on held-out rows and on its base's own text."""

import pytest
import torch

from despur.core import Site, Subspace
from despur.measure import off_task

TEXT = [[1, *range(10 + i, 16 + 2 * i)] for i in range(7)]
HELD_OUT = [{"input_ids": [1, 9 + i, 20, 30 + i, 2], "labels": [-100, -100, -100, 30 + i, 2]} for i in range(5)]


@pytest.fixture
def model(tiny, lora):
    return lora(tiny()).eval()


def nudge(model, by: float):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(by * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name))))


def test_the_base_has_not_drifted(model):
    scores = off_task(model, held_out=HELD_OUT, own_text=TEXT, batch=3)
    assert list(scores) == ["task", "drift", "validity"], "no factor: legitimate use cannot be asked"
    assert scores["drift"]["kl"].abs().max() < 1e-6
    assert scores["drift"]["kl"].shape == scores["validity"]["likelihood"].shape == (7,)
    assert scores["task"]["logp"].shape == (5,)
    nudge(model, 0.3)
    moved = off_task(model, held_out=HELD_OUT, own_text=TEXT, batch=3)
    assert (moved["drift"]["kl"] > 1e-4).all(), "the control: a tuned model has"


@torch.no_grad()
def test_figures_are_those_of_one_row_at_a_time(model):
    nudge(model, 0.3)
    scores = off_task(model, held_out=HELD_OUT, own_text=TEXT, batch=4)
    for i, row in enumerate(HELD_OUT):
        loss = model(input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])).loss
        assert scores["task"]["logp"][i].item() == pytest.approx(-loss.item(), abs=1e-5)
    for i, row in enumerate(TEXT):
        ids = torch.tensor([row])
        now = model(input_ids=ids).logits.log_softmax(-1)
        with model.disable_adapter():
            base = model(input_ids=ids).logits.log_softmax(-1)
        kl = (now.exp() * (now - base)).sum(-1).mean()
        said = now[0, :-1].gather(1, ids[0, 1:, None]).mean().exp()
        assert scores["drift"]["kl"][i].item() == pytest.approx(kl.item(), abs=1e-5)
        assert scores["validity"]["likelihood"][i].item() == pytest.approx(said.item(), rel=1e-3)


def test_legitimate_use_is_the_answer_to_the_factor(model):
    factor = Subspace.orthonormal(torch.eye(1, 32), site=Site("model.layers.0"))
    ask = lambda by: off_task(  # noqa: E731
        model, held_out=HELD_OUT, own_text=TEXT, factor=factor, shift=by * factor.read[0]
    )["legitimate"]["response"]
    assert ask(0.0).abs().max() < 1e-6
    assert (ask(1.0) > 0).all()
    assert (ask(3.0) > ask(1.0)).all()
