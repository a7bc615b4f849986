"""A clamp that stops a behaviour in the features alone is seen through; one on all that carries it is not."""

import json

import pytest
import torch
from safetensors.torch import save_file

from despur.core import Context, ProjectOut, Subspace
from despur.core.errors import BadInput, ShapeMismatch
from despur.core.model.dictionary import Dictionary, load_dictionary, train_dictionary
from despur.measure.clamped import clamp, recovery_behind_clamp

EYE = torch.eye(4)


def sae(**how) -> Dictionary:
    return Dictionary(EYE[:2], EYE[:2], torch.zeros(2), torch.zeros(4), **how)


def stream(n: int = 3) -> torch.Tensor:
    x = torch.rand(n, 2, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    return x


def test_a_clamp_sets_the_feature_and_keeps_the_rest():
    x = stream()
    held = clamp(x, sae(), [0], at=0.25)
    assert torch.allclose(held[..., 0], torch.full((3, 2), 0.25))
    assert torch.equal(held[..., 1:], x[..., 1:])


def test_what_the_rest_carries_is_found_again_and_what_the_feature_alone_carries_is_not():
    def leaky(h):
        return h[:, -1, 0] + 4 * h[:, -1, 2] - 4 * x[:, -1, 2] - 0.2

    def tight(h):
        return h[:, -1, 0] - 0.2

    x = stream()
    found = recovery_behind_clamp(leaky, x, sae(), [0], budget=0.3)
    assert found.valid.all()
    assert found.back.all()
    assert found.by_rest.all()
    assert not found.by_clamped.any()
    assert float(found.reactivated.max()) < 1e-5
    assert float(found.length.max()) <= 0.3 + 1e-5
    control = recovery_behind_clamp(tight, x, sae(), [0], budget=0.3)
    assert control.valid.all()
    assert not control.back.any(), "the control: nothing else carries it"
    free = recovery_behind_clamp(tight, x, sae(), [0], budget=0.3, constraint="none")
    assert free.back.all()
    assert free.by_clamped.all()


def test_an_ablated_subspace_is_a_clamp_on_its_coordinates():
    factor = Subspace.orthonormal(torch.tensor([[1.0, 0.0, -1.0, 0.0]]))
    features, x = Dictionary.of_subspace(factor), stream()
    held = clamp(x, features, [0])
    assert float(factor.encode(x).min()) < 0, "a ReLU would leave these"
    assert torch.allclose(held, ProjectOut(factor)({"x": x}, Context(torch.nn.Identity()))["x"], atol=1e-6)

    def beside(h):
        return h[:, -1, 1] - held[:, -1, 1] - 0.1

    def along(h):
        return factor.encode(h)[:, -1, 0] - 0.1

    found = recovery_behind_clamp(beside, x, features, [0], budget=0.3)
    assert found.back.all()
    assert found.by_rest.all()
    assert float(found.reactivated.max()) < 1e-5
    assert not recovery_behind_clamp(along, x, features, [0], budget=0.3).back.any(), (
        "the control: all of it was ablated"
    )


@pytest.mark.parametrize(("constraint", "most"), [("epsilon", 0.1), ("decoder", 0.05)])
def test_a_bound_is_kept(constraint, most):
    twice = Dictionary(EYE[:2], 2 * EYE[:2], torch.zeros(2), torch.zeros(4))
    found = recovery_behind_clamp(lambda h: h[:, -1, 0], stream(), twice, [0], constraint=constraint, epsilon=0.1)
    assert float(found.reactivated.max()) == pytest.approx(most, abs=1e-4)


@pytest.mark.parametrize("kind", ["topk", "jumprelu"])
def test_a_trained_dictionary_explains_sparse_activations(kind):
    draw = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(12, 8, generator=draw), dim=1)
    codes = torch.zeros(600, 12).scatter(1, torch.randint(12, (600, 2), generator=draw), 1.0)
    x = codes @ atoms
    made = train_dictionary(x, features=24, k=2, kind=kind, steps=300)
    left = (made.decode(made.encode(x)) - x).square().sum() / (x - x.mean(0)).square().sum()
    permuted = torch.stack([c[torch.randperm(600, generator=draw)] for c in x.T], 1)
    other = (made.decode(made.encode(permuted)) - permuted).square().sum() / (
        permuted - permuted.mean(0)
    ).square().sum()
    assert left < 0.1
    assert other > 2 * left, "the control: the same numbers, each coordinate shuffled"
    active = (made.encode(x) > 0).sum(1).float()
    if kind == "topk":
        assert int(active.max()) <= 2
    else:
        assert 1.5 < float(active.mean()) < 2.5, "k of them on average"
        assert float(made.threshold.min()) > 0


@pytest.mark.parametrize("kind", ["standard", "topk", "jumprelu"])
def test_saelens_folders_are_read(kind, tmp_path):
    draw = torch.Generator().manual_seed(0)
    parts = {
        "W_enc": torch.randn(4, 6, generator=draw),
        "W_dec": torch.randn(6, 4, generator=draw),
        "b_enc": torch.zeros(6),
        "b_dec": torch.ones(4),
    }
    if kind == "jumprelu":
        parts["threshold"] = torch.full((6,), 0.5)
    save_file(parts, tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_text(json.dumps({"architecture": kind, "k": 2, "apply_b_dec_to_input": False}))
    x = torch.randn(5, 4, generator=draw)
    read = (x @ parts["W_enc"]).relu()
    if kind == "topk":
        read = read * (read >= read.topk(2, dim=1).values[:, -1:])
    if kind == "jumprelu":
        read = read * (read > 0.5)
    made = load_dictionary(tmp_path)
    assert torch.allclose(made.encode(x), read)
    assert torch.allclose(made.decode(made.encode(x)), read @ parts["W_dec"] + 1, atol=1e-5)
    with pytest.raises(ShapeMismatch, match="width 3, the SAE was trained on width 4"):
        made.encode(torch.zeros(2, 3))


def test_faults_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no SAE of SAELens"):
        load_dictionary(tmp_path)
    with pytest.raises(BadInput, match="clamped features"):
        clamp(stream(), sae(), [2])
    with pytest.raises(BadInput, match="a budget above 0"):
        recovery_behind_clamp(lambda h: h[:, 0, 0], stream(), sae(), [0], budget=0.0)
