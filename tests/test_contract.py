"""What every guard and every finder keeps, found through the catalogue: a new method is tested by being there."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from leak import random_factor
from torch import Tensor, nn

from despur.core import Context, Edit, Site, Subspace, find_method, methods
from despur.core.build import build as build_method
from despur.core.errors import UnknownName
from despur.core.finder import Finder
from despur.core.materials import Given
from despur.core.names import canonical
from despur.guard import OwnText

POINTS = ("batch", "activation", "loss", "gradient", "weight")
GUARDS = sorted(name for name, m in methods().items() if m.room in ("guard", "steer"))
WITH_STRENGTH = [n for n in GUARDS if "strength" in inspect.signature(methods()[n].factory).parameters]
FINDERS = sorted(name for name, m in methods().items() if m.room == "find")


@pytest.fixture
def model(tiny, lora) -> nn.Module:
    """A tiny model whose adapter has moved off the base."""
    return moved(lora(tiny()).eval())


def moved(model: nn.Module, seed: int = 0) -> nn.Module:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(0.3 * torch.randn(p.shape, generator=rng))
    return model


@pytest.fixture
def build(tiny, lora, tmp_path_factory):
    """`build("grasp", strength=0.0)`: what a guard needs is made for it, by the name of the argument."""
    scout = tmp_path_factory.mktemp("scout")
    moved(lora(tiny()), seed=1).save_pretrained(scout)
    draw = torch.Generator().manual_seed(3)
    factor = Subspace.orthonormal(random_factor(rank=2, width=32).read, site=Site("model.layers.0"))
    text = OwnText(tuple((1, *torch.randint(3, 64, (5 + i % 3,), generator=draw).tolist()) for i in range(9)))
    needs = {
        "factor": factor,
        "weight_factor": factor,
        "text": text,
        "generic": text,
        "rows": [{"input_ids": list(r), "labels": list(r)} for r in text.rows],
        "scout": scout,
        "vectors": {Site("model.layers.0"): torch.randn(32, generator=draw)},
        "stream": {Site("model.layers.0"): torch.randn(80, 32, generator=draw)},
        "labels": torch.arange(80) % 2,
        "prompt": [9, 12],
    }

    def make(name: str, **options: Any) -> Edit:
        return build_method(name, Given(needs), **options)

    return make


def met(edit: Edit, model: nn.Module) -> dict[str, Tensor]:
    """The tensors that an edit gets at its point."""
    if edit.point == "loss":
        return {"loss": torch.ones(())}
    if edit.point == "batch":
        ids = torch.arange(40 * 6).view(40, 6) % 60 + 3
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if edit.point == "activation":
        dtype = next(iter(trained.values())).dtype
        return {site.module: torch.linspace(-1, 1, 320).view(2, 5, 32).to(dtype) for site in edit.sites}
    if edit.point == "weight":
        return {n: p.detach() for n, p in trained.items()}
    assert edit.point == "gradient"
    return {n: torch.randn_like(p) for n, p in trained.items()}


@pytest.mark.parametrize("name", GUARDS)
class TestGuards:
    def test_builds_from_its_defaults_and_acts_at_one_point(self, name, build):
        edit = build(name)
        assert isinstance(edit, Edit)
        assert edit.point in POINTS
        options = [
            p for p in inspect.signature(methods()[name].factory).parameters.values() if p.default is not p.empty
        ]
        assert all(p.kind is p.KEYWORD_ONLY for p in options), "options are named"

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    def test_keeps_keys_shapes_dtypes_and_what_it_was_given(self, name, dtype, build, model):
        model = model.to(dtype)
        edit = build(name)
        edit.bind(model)
        tensors = met(edit, model)
        before = {k: t.clone() for k, t in tensors.items()}
        out = edit(tensors, Context(model))
        assert tensors.keys() <= out.keys()
        assert tensors.keys() == out.keys() or edit.point in ("batch", "loss")
        for key, was in before.items():
            assert torch.equal(tensors[key], was), "its input was mutated"
            assert (out[key].dtype, out[key].device) == (was.dtype, was.device)
            assert out[key].shape == was.shape or edit.point == "batch"
            assert torch.isfinite(out[key]).all()
        assert any(not torch.equal(out[key], was) for key, was in before.items()), "it acts"

    def test_leaves_the_model_and_the_global_draws_alone(self, name, build, model):
        weights = {n: p.detach().clone() for n, p in model.named_parameters()}
        drawn = torch.get_rng_state()
        edit = build(name)
        edit.bind(model)
        edit(met(edit, model) if edit.point != "gradient" else {}, Context(model))
        assert torch.equal(drawn, torch.get_rng_state())
        assert {n: True for n in weights} == {n: torch.equal(weights[n], p) for n, p in model.named_parameters()}
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())

    def test_same_draws_same_result(self, name, build, model):
        edit, other = build(name), build(name)
        edit.bind(model)
        other.bind(model)
        tensors = met(edit, model)
        one, again = (e(tensors, Context(model, rng=torch.Generator().manual_seed(4))) for e in (edit, other))
        assert all(torch.equal(one[k], again[k]) for k in one)

    def test_binds_when_training_begins_and_anew_for_the_next_run(self, name, build, model, tiny, lora):
        edit, fresh = build(name), build(name)
        edit.bind(tiny_other := moved(lora(tiny(seed=0), r=2)))
        assert edit(met(edit, tiny_other), Context(tiny_other))
        edit.bind(model)
        fresh.bind(model)
        tensors = met(edit, model)
        one, two = edit(tensors, Context(model)), fresh(tensors, Context(model))
        assert all(torch.equal(one[k], two[k]) for k in two)

    def test_tensors_that_it_does_not_know_pass(self, name, build, model):
        edit = build(name)
        edit.bind(model)
        other = torch.randn(3, 5)
        assert edit({**met(edit, model), "elsewhere": other}, Context(model))["elsewhere"] is other

    def test_a_loss_reaches_the_weights(self, name, build, model):
        edit = build(name)
        if edit.point != "loss":
            assert not any(p.requires_grad for p in edit.parameters())
            return
        edit.bind(model)
        edit(met(edit, model), Context(model))["loss"].backward()
        assert any(p.grad is not None and p.grad.any() for p in model.parameters())
        assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


@pytest.mark.parametrize("name", WITH_STRENGTH)
def test_strength_zero_is_the_identity_and_one_the_default(name, build, model):
    edit = build(name, strength=0.0)
    edit.bind(model)
    tensors = met(edit, model)
    out = edit(tensors, Context(model))
    assert out.keys() == tensors.keys()
    assert all(torch.equal(out[k], t) for k, t in tensors.items())
    assert inspect.signature(methods()[name].factory).parameters["strength"].default == 1.0


@pytest.mark.parametrize("name", FINDERS)
def test_finders_fit_from_their_defaults(name):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 12)) + 0.5
    before = rows.copy()
    finder = methods()[name].factory()
    assert isinstance(finder, Finder)
    factors = finder.fit(rows).factors_
    assert np.array_equal(rows, before)
    assert factors
    for factor in factors:
        assert isinstance(factor, Subspace)
        assert factor.width == 12
        assert torch.allclose(factor.read @ factor.write.T, torch.eye(factor.rank), atol=1e-5)
        assert canonical(factor.evidence["method"]) == name
        assert factor.evidence["n"] == 60
    again = methods()[name].factory().fit(rows.astype(np.float32)).factors_
    assert all(torch.allclose(a.read, b.read, atol=1e-3) for a, b in zip(factors, again, strict=True))


def test_a_misspelt_method_is_told_what_is_near():
    assert find_method("grasp").room == "guard"
    with pytest.raises(UnknownName, match=r"no method 'graps'; nearest: 'grasp'.*despur ls"):
        find_method("graps")
