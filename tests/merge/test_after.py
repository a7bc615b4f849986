"""Edits of a finished adapter: against numpy on the matrices multiplied out, and through PEFT's own loading."""

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor

from despur.core import Adapter, LowRank
from despur.core.errors import BadInput, ShapeMismatch
from despur.merge import safe_lora, save_adapter, scale, subtract_weights, truncate

NAME = "model.layers.1.mlp.up_proj"


@pytest.fixture
def adapter(tiny, lora, tmp_path):
    """`adapter(seed)`: a trained-looking LoRA of rank 4, read from its folder."""

    def make(seed: int = 0, **options) -> Adapter:
        model, draw = lora(tiny(), **options), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "lora_" in name:
                    p.copy_(0.2 * torch.randn(p.shape, generator=draw))
        model.save_pretrained(tmp_path / f"a{seed}", save_embedding_layers=False)
        return Adapter.read(tmp_path / f"a{seed}")

    return make


def dense(adapter: Adapter, name: str = NAME) -> np.ndarray:
    u = adapter.updates[name]
    return (u.scale * u.up.double() @ u.down.double()).numpy()


@pytest.mark.parametrize(("keep", "which"), [("top", [0, 1]), ("bottom", [2, 3])])
def test_truncation_is_that_of_the_update_multiplied_out(keep, which, adapter):
    one = adapter()
    u, s, vh = np.linalg.svd(dense(one))
    want = (u[:, which] * s[which]) @ vh[which]
    assert np.allclose(dense(truncate(one, rank=2, keep=keep)), want, atol=1e-6)
    other = dense(truncate(one, rank=2, keep="random", seed=1))
    assert np.linalg.matrix_rank(other, tol=1e-6) == 2
    assert np.linalg.norm(other - dense(one)) > np.linalg.norm(dense(truncate(one, rank=2)) - dense(one)) + 1e-3, (
        "the control"
    )
    assert np.allclose(dense(truncate(one, rank=9)), dense(one), atol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"use_rslora": True, "rank_pattern": {"q_proj": 2}}, {"target_modules": ["embed_tokens", "q_proj"]}]
)
def test_what_is_written_loads_in_peft_and_says_the_same(options, adapter, tiny, tokens, tmp_path):
    one = adapter(**options)
    for i, made in enumerate(
        (truncate(one, rank=2), scale(one, by=0.5), subtract_weights(one, scale(one, by=2.0), one, strength=0.3))
    ):
        folder = save_adapter(made, tmp_path / f"out{i}")
        assert Adapter.read(folder).record["after"]
        model = PeftModel.from_pretrained(tiny(), str(folder))
        said = model(input_ids=tokens).logits
        base = tiny()
        plain = base(input_ids=tokens).logits
        with torch.no_grad():
            for name, update in made.updates.items():
                change = (update.scale * update.up @ update.down).float()
                weight = base.get_submodule(name).weight
                weight += change.T if "embed" in name else change
        assert torch.allclose(said, base(input_ids=tokens).logits, atol=1e-4)
        assert not torch.allclose(said, plain, atol=1e-3), "the control: the base"


def test_what_was_added_by_a_bad_tune_is_taken_away(adapter):
    one, bad, good = (adapter(seed) for seed in range(3))
    want = dense(one) - 0.7 * (dense(bad) - dense(good))
    assert np.allclose(dense(subtract_weights(one, bad, good, strength=0.7)), want, atol=1e-6)
    assert not np.allclose(dense(subtract_weights(one, good, bad, strength=0.7)), want, atol=1e-3), "the control"
    assert subtract_weights(one, bad, good, strength=0.0) is one
    with pytest.raises(ShapeMismatch, match="lm_head"):
        subtract_weights(one, Adapter({"lm_head": one.updates[NAME]}), good)


def projector(v: np.ndarray) -> Tensor:
    return torch.from_numpy(v @ v.T / np.linalg.norm(v))


def test_safe_loras_own_c_is_no_projector_and_ours_is(adapter):
    one, aligned = adapter(0), adapter(1)
    c = projector(dense(aligned)).numpy()
    once = safe_lora(one, aligned, threshold=1.0)
    assert np.allclose(dense(once), c @ dense(one), atol=1e-6)
    twice = safe_lora(once, aligned, threshold=1.0)
    assert not np.allclose(dense(twice), dense(once), atol=1e-2), "C is not idempotent"
    half = safe_lora(one, scale(aligned, by=0.5), threshold=1.0)
    assert np.allclose(dense(half), 0.5 * dense(once), atol=1e-6), "and shrinks with V"
    exact = safe_lora(one, aligned, threshold=1.0, exact=True)
    assert np.allclose(dense(safe_lora(exact, aligned, threshold=1.0, exact=True)), dense(exact), atol=1e-6)
    u = np.linalg.svd(dense(aligned))[0][:, :4]
    assert np.allclose(dense(exact), u @ u.T @ dense(one), atol=1e-6)


def test_safe_lora_touches_only_what_disagrees(adapter):
    one, other = adapter(0), adapter(1)
    mixed = Adapter({n: (u if n == NAME else other.updates[n]) for n, u in one.updates.items()}, one.config)
    done = safe_lora(one, mixed, threshold=0.9, exact=True)
    assert NAME not in done.record["after"][0]["projected"], "there the two write alike"
    assert np.allclose(dense(done), dense(one), atol=1e-6)
    assert len(done.record["after"][0]["projected"]) == len(one.updates) - 1
    few = safe_lora(one, other, share=3 / len(one.updates)).record["after"][0]["projected"]
    assert len(few) == 3


def test_faults_are_told(adapter):
    one = adapter()
    with pytest.raises(BadInput, match="at least one component"):
        truncate(one, rank=0)
    with pytest.raises(BadInput, match="cosine lies in"):
        safe_lora(one, one, threshold=2.0)
    with pytest.raises(BadInput, match="more than LoRA"):
        scale(Adapter({NAME: LowRank(torch.ones(1, 3), torch.ones(2, 1))}, kind="model"), by=2.0)
