"""orthogonal_updates keeps what every map does on the text; orthogonal_gradients does so under plain SGD alone."""

import numpy as np
import pytest
import torch
from guarding import ENERGY, learn

from despur.core import Adapter, Site, record
from despur.core.errors import CannotAttach
from despur.guard import orthogonal_gradients, orthogonal_updates
from despur.guard._inputs import input_bases


def read(model, bases) -> float:
    """The largest share of an update that reads its basis."""
    updates = Adapter.of(model).updates
    return max(updates[n].read_norm(b) / updates[n].norm() for n, b in bases.items())


def test_bases_hold_the_least_directions_of_that_energy(tiny, own_text, bases):
    model, name = tiny(), "model.layers.1.mlp.down_proj"
    site, rows = Site(name, "in"), []
    with torch.no_grad(), record(model, [site]) as seen:
        for row in own_text.rows:
            model(input_ids=torch.tensor([row]))
            rows.append(seen[site][0, 1:])
    _, s, vh = np.linalg.svd(torch.cat(rows).numpy(), full_matrices=False)
    k = int(np.searchsorted(np.cumsum(s**2) / np.sum(s**2), ENERGY)) + 1
    assert bases[name].shape == (k, 64)
    assert np.linalg.norm(bases[name].numpy() @ vh[:k].T) ** 2 == pytest.approx(k, rel=1e-4)


def test_exact_on_weights_and_leaking_on_gradients(tiny, lora, tokens, own_text, bases):
    kept = learn(lora(tiny()), tokens, orthogonal_updates(own_text, energy=ENERGY))
    assert read(kept, bases) < 1e-6
    assert Adapter.of(kept).norm() > 0.1
    leaks = learn(lora(tiny()), tokens, orthogonal_gradients(own_text, energy=ENERGY))
    assert read(leaks, bases) > 0.1, "the control: Adam, and A's random start"
    none = learn(lora(tiny()), tokens, orthogonal_updates(own_text, energy=ENERGY, strength=0.0))
    assert read(none, bases) > 0.1


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_whole_weights_keep_their_own_reading(kind, tiny, tokens, own_text):
    model = tiny(kind).requires_grad_(False)
    name = "model.layers.0.mlp.up_proj" if kind == "llama" else "transformer.h.0.mlp.c_fc"
    weight = model.get_submodule(name).weight.requires_grad_(True)
    start, basis = weight.detach().clone(), input_bases(model, [name], own_text, ENERGY)[name]
    learn(model, tokens, orthogonal_updates(own_text, energy=ENERGY))
    change = (weight.detach() - start) if kind == "llama" else (weight.detach() - start).T
    assert (change @ basis.T).norm() < 1e-5 < 0.01 < change.norm()


def test_what_reads_no_vectors_is_refused(tiny, lora, own_text):
    with pytest.raises(CannotAttach, match="embed_tokens"):
        orthogonal_updates(own_text).bind(lora(tiny(), target_modules=["embed_tokens"]))
