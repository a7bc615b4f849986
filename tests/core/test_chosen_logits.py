"""The head at chosen positions alone says what it says at all of them, in every architecture, gradients included."""

import pytest
import torch

from despur.core.model.chosen_logits import log_probs_at, logits_at

IDS = torch.tensor([[1, 5, 6, 7, 8], [1, 9, 10, 0, 0]])
MASK = (IDS > 0).long()
WHERE = torch.tensor([[0, 0, 1, 1, 0], [0, 1, 0, 0, 0]], dtype=torch.bool)


def changed(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name))))
    return model


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "gpt_neox", "cohere", "granite"])
def test_as_the_full_logits(name, tiny, lora):
    model = changed(lora(tiny(name))).eval()
    full = model(input_ids=IDS, attention_mask=MASK).logits[WHERE]
    some = logits_at(model, IDS, MASK, WHERE)
    torch.testing.assert_close(some, full, rtol=1e-5, atol=1e-5)
    trained = [p for p in model.parameters() if p.requires_grad]
    of = [torch.autograd.grad(x.square().sum(), trained, allow_unused=True) for x in (full, some)]
    for one, two in zip(*of, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_the_head_sees_those_positions_alone(tiny):
    model, seen = tiny("llama"), []
    model.get_output_embeddings().register_forward_hook(lambda module, args, out: seen.append(out.shape[:-1]))
    logits_at(model, IDS, MASK, WHERE)
    logits_at(model, IDS, MASK, torch.zeros_like(WHERE))
    model(input_ids=IDS, attention_mask=MASK)
    assert seen == [(1, 3), (1, 0), (2, 5)], "the last is the control"


def test_a_model_that_hides_its_head_gives_the_same(tiny, monkeypatch):
    model = tiny("llama").eval()
    want = log_probs_at(model, IDS, MASK, WHERE)
    monkeypatch.setattr(type(model), "get_output_embeddings", lambda self: None)
    torch.testing.assert_close(log_probs_at(model, IDS, MASK, WHERE), want)
