"""A copy has modules of its own and no weights of its own."""

import torch

from despur.core.model.shared_copy import shared_copy

IDS = torch.tensor([[1, 5, 6]])


def test_an_adapter_on_the_copy_is_not_on_the_model(tiny, lora):
    model = tiny("llama").eval()
    before, names = model(IDS).logits, [n for n, _ in model.named_modules()]
    tuned = lora(shared_copy(model))
    with torch.no_grad():
        for name, p in tuned.named_parameters():
            if "lora_B" in name:
                p.fill_(0.1)
    assert not torch.allclose(tuned(IDS).logits, before), "the control"
    assert torch.equal(model(IDS).logits, before)
    assert [n for n, _ in model.named_modules()] == names
    copied = {p.data_ptr() for n, p in tuned.named_parameters() if "lora_" not in n}
    assert copied == {p.data_ptr() for p in model.parameters()}
