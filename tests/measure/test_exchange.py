"""Exchanges: the same by hooks and from the layer on, one at a time and many; and the model is as before."""

import numpy as np
import pytest
import torch

from despur.claims.tiny_runs import move
from despur.core import Site, Subspace, layer_path
from despur.measure import _exchange, both, token_shift
from despur.measure._exchange import exchange
from despur.measure.both import Both


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


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
@pytest.mark.parametrize("layer", [0, 1])
def test_tokens_that_all_rows_begin_with_are_read_once_and_nothing_changes(kind, layer, tiny, lora, rows, monkeypatch):
    model = move(lora(tiny(kind)), by=0.2).eval()
    chats = [[1, 5, 6, 7, 8, 9, *r[: 4 + i % 3]] for i, r in enumerate(rows[:9])]
    starts = [len(c) - 3 for c in chats]
    factors = subspaces(model, layer)
    site = factors[0].site
    given = Both(model, chats, site, starts=starts, batch=4)
    assert given.front is not None
    front = exchange(model, chats, site, factors, 4, starts, passes=given)
    shift = token_shift(model, chats, starts=starts, passes=given)
    monkeypatch.setattr(_exchange, "_FRONT_TOKENS", 12)
    in_blocks = exchange(
        model, chats, site, factors, 4, starts, passes=given
    )  # two and one of three exchanges at a time
    for one, two in zip(front, in_blocks, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(both, "shared_front", lambda rows, starts: ())
    whole = exchange(model, chats, site, factors, 4, starts)
    assert whole.change.min() > 1e-6
    assert np.ptp(whole.left_base.sum(1)) > 1e-3 * whole.change.sum(), "what is exchanged matters"
    for one, two in zip(front, whole, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-6)
    assert shift.change == pytest.approx(token_shift(model, chats, starts=starts).change, rel=1e-4)
    own = Both(model, chats, site, starts=starts, batch=4).base_stream()
    torch.testing.assert_close(given.base_stream(), own, atol=1e-5, rtol=1e-4)
