"""safe_lora: its published C is no projector, ours is; and only what disagrees is touched."""

import numpy as np
import pytest
import torch
from torch import Tensor

from despur.core import Adapter
from despur.core.errors import BadInput
from despur.merge import safe_lora, scale

NAME = "model.layers.1.mlp.up_proj"


def projector(v: np.ndarray) -> Tensor:
    return torch.from_numpy(v @ v.T / np.linalg.norm(v))


def test_safe_loras_own_c_is_no_projector_and_ours_is(adapter, dense):
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


def test_safe_lora_touches_only_what_disagrees(adapter, dense):
    one, other = adapter(0), adapter(1)
    mixed = Adapter({n: (u if n == NAME else other.updates[n]) for n, u in one.updates.items()}, one.config)
    done = safe_lora(one, mixed, threshold=0.9, exact=True)
    assert NAME not in done.record["after"][0]["projected"], "there the two write alike"
    assert np.allclose(dense(done), dense(one), atol=1e-6)
    assert len(done.record["after"][0]["projected"]) == len(one.updates) - 1
    few = safe_lora(one, other, share=3 / len(one.updates)).record["after"][0]["projected"]
    assert len(few) == 3


def test_a_threshold_is_a_cosine(adapter):
    one = adapter()
    with pytest.raises(BadInput, match="cosine lies in"):
        safe_lora(one, one, threshold=2.0)
