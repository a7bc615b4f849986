"""module_shares names the modules that read or write a direction."""

import pytest
import torch
from torch import nn

from despur.core import Adapter, LowRank, Site, Subspace
from despur.measure import leakage, module_shares


def test_the_writer_of_a_direction_comes_first(writer, v):
    live = writer(layer=1)
    [one] = module_shares(Adapter.of(live), live.get_base_model(), Subspace.orthonormal(v[None]))
    assert (one.module, one.side) == ("model.layers.1.mlp.down_proj", "write")
    assert abs(one.share - 1) < 1e-6
    assert one.expected == 1 / 32


def test_shares_are_measured_behind_the_norm_and_sorted(tiny, v):
    base = tiny()
    norm = base.get_submodule("model.layers.0.input_layernorm")
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        norm.weight.copy_(0.5 + torch.rand(32, generator=rng))
    seen = norm.weight.detach() * v  # what a map behind the norm sees of v
    updates = {
        "model.layers.0.self_attn.q_proj": LowRank(seen[None], torch.randn(32, 1, generator=rng)),
        "model.layers.0.self_attn.o_proj": LowRank(
            torch.randn(4, 32, generator=rng), torch.randn(32, 4, generator=rng)
        ),
        "model.layers.0.self_attn.k_proj": LowRank(torch.ones(1, 32), torch.zeros(16, 1)),
    }
    other = nn.functional.normalize(torch.randn(2, 32, generator=rng), dim=1)
    found = module_shares(Adapter(updates), base, Subspace.orthonormal(torch.stack([v, other[0]])))
    assert [s.module.rpartition(".")[2] for s in found] == ["q_proj", "o_proj"], "what is zero is left out"
    assert abs(found[0].share - 1) < 1e-6
    assert 0 < found[1].share < 0.5
    assert found[1].expected == 2 / 32


def test_an_oblique_factor_is_read_where_it_writes_and_written_where_it_reads(tiny):
    """A map reacts to what the factor adds to the stream (`write`); it changes the coordinate through `read`."""
    base = tiny()
    with torch.no_grad():
        base.get_submodule("model.layers.0.input_layernorm").weight.copy_(torch.linspace(0.5, 1.5, 32))
    gain = base.get_submodule("model.layers.0.input_layernorm").weight.detach()
    write = torch.eye(32)[3]
    read = write + 1.5 * torch.eye(32)[7]
    updates = {
        "model.layers.0.self_attn.q_proj": LowRank((gain * write)[None], torch.ones(32, 1)),
        "model.layers.0.self_attn.o_proj": LowRank(torch.ones(1, 32), read[:, None]),
    }
    adapter = Adapter(updates)
    one, turned = (Subspace(r[None], w[None], torch.zeros(32), Site()) for r, w in ((read, write), (write, read)))
    assert [s.share for s in module_shares(adapter, base, one)] == pytest.approx([1, 1])
    assert max(s.share for s in module_shares(adapter, base, turned)) < 0.5, "the control"
    assert [r.value for r in leakage(adapter, base, one).values()] == pytest.approx([1, 1])
    assert max(r.value for r in leakage(adapter, base, turned).values()) < 0.8


def test_a_map_behind_a_layer_norm_sees_the_gain_times_what_is_centred(tiny, v):
    base = tiny("opt")
    norm = base.get_submodule("model.decoder.layers.0.self_attn_layer_norm")
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 1.5, 32))
    v = v + 0.3  # with a mean, which such a norm takes away
    seen = norm.weight.detach() * (v - v.mean())
    adapter = Adapter({"model.decoder.layers.0.self_attn.q_proj": LowRank(seen[None], torch.ones(32, 1))})
    factor = Subspace.orthonormal(v[None])
    assert module_shares(adapter, base, factor)[0].share == pytest.approx(1)
    assert leakage(adapter, base, factor)["read"].value == pytest.approx(1)
