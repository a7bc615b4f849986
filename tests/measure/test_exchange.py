"""Exchanges: the same by hooks and from the layer on, one at a time and many; and the model is as before."""

import numpy as np
import pytest
import torch

from despur.core import Site, Subspace, layer_path
from despur.measure import _exchange
from despur.measure._exchange import exchange


@pytest.fixture
def tuned(any_tiny, lora):
    """Every architecture with an adapter that does something in both layers."""
    model = lora(any_tiny).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.2, generator=torch.Generator().manual_seed(len(name)))
    return model


def subspaces(model, layer=0):
    site = Site(layer_path(model).replace("#", str(layer)))
    return [Subspace.orthonormal(torch.eye(32)[: k + 1], site=site) for k in range(3)]


def test_layers_that_are_not_run_make_no_difference(tuned, rows, monkeypatch):
    factors = subspaces(tuned)
    site = factors[0].site
    given = exchange(tuned, rows, site, factors, 16, None)
    assert given.left_base.min() > 0
    assert np.ptp(given.left_base.sum(1)) > 1e-3 * given.change.sum(), "what is exchanged matters"
    monkeypatch.setattr(_exchange, "_layers_up_to", lambda model, site: [])
    hooked = exchange(tuned, rows, site, factors, 16, None)
    monkeypatch.setattr(_exchange, "_TOKENS", 1)
    alone = exchange(tuned, rows, site, factors, 16, None)
    for one, two, three in zip(given, hooked, alone, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one, three, rtol=1e-4, atol=1e-6)


def test_a_stream_is_given_from_the_layer_on_and_nothing_stays(tiny, tokens):
    model = tiny("llama")
    site = Site("model.layers.1")
    layers = _exchange._layers_up_to(model, site)
    ran = []
    handle = model.model.layers[0].mlp.register_forward_hook(lambda *_: ran.append(1))
    before = model(input_ids=tokens).logits
    with _exchange._giving(model, site, torch.zeros(2, 8, 32), layers):
        nought = model(input_ids=tokens).logits
    assert len(ran) == 1, "the layers before are not run"
    assert torch.allclose(nought, model.lm_head(model.model.norm(torch.zeros(2, 8, 32))))
    with pytest.raises(KeyError), _exchange._giving(model, site, torch.zeros(2, 8, 32), layers):
        raise KeyError
    assert torch.equal(model(input_ids=tokens).logits, before)
    handle.remove()


def test_of_what_is_no_known_layer_every_layer_is_run(tiny):
    model = tiny("llama")
    for site in (Site("model.layers.1", "in"), Site("model.layers.1.mlp"), Site("model.norm"), Site("model.layers.x")):
        assert _exchange._layers_up_to(model, site) == []
    assert len(_exchange._layers_up_to(model, Site("model.layers.1"))) == 2
    model.config.model_type = "of_next_year"
    assert _exchange._layers_up_to(model, Site("model.layers.1")) == []
    given = torch.ones(1, 4, 32)
    with _exchange._giving(model, Site("model.norm"), given, []):
        assert torch.allclose(model(input_ids=torch.ones(1, 4, dtype=torch.long)).logits, model.lm_head(given))
