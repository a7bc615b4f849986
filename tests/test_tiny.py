"""The models that other tests stand on."""

import torch


def test_every_architecture_runs_and_is_seeded(any_tiny, tiny, tokens):
    again = tiny(any_tiny.config.model_type)
    assert torch.equal(any_tiny(tokens).logits, again(tokens).logits)
    other = tiny(any_tiny.config.model_type, seed=1)
    assert not torch.equal(any_tiny(tokens).logits, other(tokens).logits)
    assert sum(p.numel() for p in any_tiny.parameters()) < 100_000
