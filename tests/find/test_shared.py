"""SharedDirections and from_adapter: what was planted is found, and nothing is found where modules share nothing."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from despur.core import Adapter, LowRank, Subspace, stream_roles
from despur.core.errors import BadInput, ShapeMismatch, SiteNotFound
from despur.find import SharedDirections, from_adapter
from despur.measure import rate_interval

READERS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
WRITERS = ("o_proj", "down_proj")


def modules(rng: np.random.Generator, *, n: int = 8, r: int = 3, d: int = 24, planted: np.ndarray | None = None):
    """Rows of n modules with r random directions of falling size; each also writes along `planted`."""
    rows = rng.normal(size=(n, r, d)) * np.array([1.0, 0.6, 0.3])[:, None]
    if planted is not None:
        rows[:, 0] += 6 * planted * rng.choice([-1, 1], size=(n, 1))
    return rows.reshape(n * r, d), np.repeat(np.arange(n), r)


def test_a_direction_that_modules_share_is_found():
    rng = np.random.default_rng(0)
    planted = rng.normal(size=24)
    planted /= np.linalg.norm(planted)
    rows, groups = modules(rng, planted=planted)
    finder = SharedDirections(nulls=40).fit(rows, groups=groups)
    assert finder.found_ == 1
    assert abs(finder.factors_[0].read[0].numpy() @ planted) > 0.93
    assert finder.agreement_[0] > 2 * finder.threshold_ > 2 * finder.agreement_[1]
    evidence = finder.factors_[0].evidence
    assert evidence["p"] == pytest.approx(1 / 41)
    assert evidence["control"] == finder.threshold_


def test_one_loud_module_is_no_agreement():
    rng = np.random.default_rng(1)
    rows, groups = modules(rng)
    rows[0] *= 1000
    loud = SharedDirections(nulls=40).fit(rows, groups=groups)
    assert loud.found_ == 0
    rows[groups == 0] *= 1e-6
    assert np.allclose(loud.agreement_, SharedDirections(nulls=0, level=1.0).fit(rows, groups=groups).agreement_)


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_unrelated_modules_pass_at_the_stated_rate(level):
    """240 draws of modules that share nothing; the Wilson interval of how many pass covers the level."""
    draws = 240
    passed = 0
    for i in range(draws):
        rows, groups = modules(np.random.default_rng([7, i]), n=5, r=3, d=12)
        passed += SharedDirections(nulls=39, level=level, seed=i, rank=1).fit(rows, groups=groups).found_ > 0
    _, low, high = rate_interval(passed, draws)
    assert low <= level <= high, f"{passed} of {draws} passed"


def test_it_turns_with_the_data_and_does_not_mind_their_order():
    rng = np.random.default_rng(2)
    rows, groups = modules(rng, planted=np.eye(24)[3])
    frame = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    plain, turned = (SharedDirections(nulls=20, rank=2).fit(x, groups=groups) for x in (rows, rows @ frame))
    assert np.allclose(plain.agreement_, turned.agreement_)
    assert abs(turned.factors_[0].read[0].numpy() @ (plain.factors_[0].read[0].numpy() @ frame)) > 0.9999
    order = rng.permutation(len(rows))
    mixed = SharedDirections(nulls=20, rank=2).fit(rows[order], groups=groups[order])
    assert np.allclose(plain.agreement_, mixed.agreement_)
    assert abs(mixed.factors_[0].read[0].numpy() @ plain.factors_[0].read[0].numpy()) > 0.9999


def test_no_row_no_direction():
    with pytest.raises(BadInput, match="every row is zero.*trained"):
        SharedDirections().fit(np.zeros((4, 3)))


@pytest.fixture
def base(tiny) -> nn.Module:
    """A model whose norms have gains of their own."""
    model = tiny()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.copy_(0.5 + torch.rand(weight.shape, generator=torch.Generator().manual_seed(len(name))))
    return model


def made(base: nn.Module, kinds: tuple[str, ...], v: torch.Tensor | None, *, seed: int = 0, layer: int | None = None):
    """An adapter by hand: each module random at rank 4, and reading or writing `v` besides."""
    rng = torch.Generator().manual_seed(seed)
    parts = dict(base.named_modules())
    updates = {}
    for name, role in stream_roles(base).items():
        if not name.endswith(kinds):
            continue
        out, into = parts[name].weight.shape
        down, up = torch.randn(4, into, generator=rng) * 0.05, torch.randn(out, 4, generator=rng)
        if v is not None and layer in (None, role.layer):
            if role.side == "write":
                up[:, 0] = 12 * v
                down[0] = torch.randn(into, generator=rng) * 0.05
            else:  # what the map reads on the stream is gain * row, so that the row is v / gain
                down[0] = 0.5 * v / parts[role.norm].weight.detach()
        updates[name] = LowRank(down, up)
    return Adapter(updates)


@pytest.mark.parametrize(("side", "kinds"), [("write", WRITERS), ("read", READERS)])
def test_from_adapter_finds_what_all_modules_write_or_read(side, kinds, base, v):
    found = from_adapter(made(base, kinds, v), base, side=side, nulls=40)
    assert [f.site.module for f in found] == ["*"]
    assert abs(found[0].read[0] @ v) > 0.99
    assert found[0].evidence["side"] == side
    assert found[0].evidence["modules"] == len(made(base, kinds, v).updates)


@pytest.mark.parametrize(
    ("side", "kinds", "per", "site"),
    [
        ("write", WRITERS, "layer", "model.layers.1"),
        ("read", READERS, "layer", "model.layers.1"),
        ("read", READERS, "norm", "model.layers.1.input_layernorm"),
    ],
)
def test_from_adapter_finds_it_in_its_layer_and_behind_its_norm(side, kinds, per, site, base, v):
    found = {
        f.site.module: f for f in from_adapter(made(base, kinds, v, layer=1), base, side=side, per=per, level=None)
    }
    assert abs(found[site].read[0] @ v) > 0.97
    assert found[site].site.side == ("in" if per == "norm" else "out")
    other = site.replace("layers.1", "layers.0")
    assert abs(found[other].read[0] @ v) < 0.9
    assert all(f.rank == 4 for f in found.values()), "without a level the leading ones come unasked"


def test_from_adapter_reports_little_on_random_adapters(base):
    reported = [
        len(from_adapter(made(base, kinds, None, seed=i), base, side=side, nulls=19, seed=i))
        for i in range(20)
        for side, kinds in (("write", WRITERS), ("read", READERS))
    ]
    assert sum(reported) <= 6, "40 tries at 5 %: seven or more come up in 1 of 300 runs"


def test_from_adapter_takes_a_folder_and_checks_whose_it_is(base, tiny, lora, tmp_path):
    model = lora(copy.deepcopy(base))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_()
    model.save_pretrained(tmp_path)
    found = from_adapter(tmp_path, base, level=None, rank=2)
    assert isinstance(found[0], Subspace)
    assert found[0].rank == 2
    assert torch.equal(found[0].read, from_adapter(Adapter.of(model), base, level=None, rank=2)[0].read)
    with pytest.raises(ShapeMismatch):
        from_adapter(tmp_path, tiny(hidden_size=64, intermediate_size=128))
    with pytest.raises(SiteNotFound, match="stablelm"):
        from_adapter(Adapter.of(model), tiny("stablelm"))
