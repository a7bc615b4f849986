"""leakage: the dense formula, and near sqrt(k / d) for what knows nothing of the factor."""

import pytest
import torch
from leak import random_factor

from despur.core import Adapter, Site, Subspace, stream_roles
from despur.measure import leakage

WIDTH = 32


@pytest.fixture
def trained(tiny, lora):
    """A tiny base with gains of its own, and an adapter on it drawn at random."""
    base = tiny()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in base.named_parameters():
            if "norm" in name:
                p.copy_(0.5 + torch.rand(p.shape, generator=rng))
    model = lora(base, r=4)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(torch.randn(p.shape, generator=rng))
    return model, base


@pytest.mark.parametrize("rank", [1, 4, 12])
def test_near_chance_for_what_knows_nothing_of_the_factor(rank, trained):
    model, base = trained
    reports = leakage(Adapter.of(model), base, random_factor(rank=rank, width=WIDTH, seed=5))
    for side, n in (("read", 10), ("write", 4)):
        assert reports[side].value == pytest.approx((rank / WIDTH) ** 0.5, rel=0.5 if rank == 1 else 0.25)
        assert reports[side].control == pytest.approx((rank / WIDTH) ** 0.5, rel=0.5 if rank == 1 else 0.25)
        assert reports[side].n == n


def test_it_is_the_dense_formula(trained):
    model, base = trained
    adapter = Adapter.of(model)
    factor = random_factor(rank=3, width=WIDTH)
    along, whole = {"read": 0.0, "write": 0.0}, {"read": 0.0, "write": 0.0}
    for name, role in stream_roles(base).items():
        if name not in adapter.updates:
            continue
        update = adapter.updates[name]
        dense = (update.scale * update.up @ update.down).double()
        if role.side == "read":
            gain = base.get_submodule(role.norm).weight.detach()
            basis = torch.linalg.qr((factor.read * gain).double().T).Q
            along["read"] += (dense @ basis).norm() ** 2
        else:
            along["write"] += (factor.read.double() @ dense).norm() ** 2
        whole[role.side] += dense.norm() ** 2
    for side, report in leakage(adapter, base, factor).items():
        assert report.value == pytest.approx(float((along[side] / whole[side]) ** 0.5), rel=1e-5)


def test_one_when_it_writes_nothing_else_and_only_where_it_was_asked(trained):
    model, base = trained
    v = random_factor(rank=1, width=WIDTH).read
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name and ("layers.1.self_attn.o_proj" in name or "layers.1.mlp.down_proj" in name):
                p.copy_(v.T * p.norm(dim=0))
    adapter = Adapter.of(model)
    here, there = (Subspace.orthonormal(v, site=Site(f"model.layers.{i}")) for i in (1, 0))
    assert leakage(adapter, base, here)["write"].value == pytest.approx(1, abs=1e-5)
    assert leakage(adapter, base, here)["write"].n == 2
    assert leakage(adapter, base, there)["write"].value < 0.6
    assert leakage(adapter, base, Subspace.orthonormal(v, site=Site("model.norm"))) == {}, "the head is not adapted"


@pytest.mark.parametrize("along", [0.0, 1.0])
def test_the_control_knows_nothing_of_the_factor_whatever_the_figure(along, trained):
    """Maps that read and write nothing of a factor, or nothing else: the control stays near chance."""
    model, base = trained
    rank = 4
    factor = random_factor(rank=rank, width=WIDTH)
    with torch.no_grad():
        for name, p in model.named_parameters():
            role = stream_roles(base).get(name.removeprefix("base_model.model.").partition(".lora_")[0])
            matrix = "lora_A" if role and role.side == "read" else "lora_B"
            if role is None or matrix not in name:
                continue
            gain = base.get_submodule(role.norm).weight.detach() if role.side == "read" else 1.0
            basis = torch.linalg.qr((factor.read * gain).T).Q
            rows = p if role.side == "read" else p.T
            part = (rows @ basis) @ basis.T
            kept = part if along else rows - part
            p.copy_(kept if role.side == "read" else kept.T)
    for report in leakage(Adapter.of(model), base, factor).values():
        assert report.value == pytest.approx(along, abs=1e-5)
        assert 0.15 < report.control < 0.6
