"""What a structural guard keeps beside the model: the factor once, and of every norm its gain."""

import pytest
import torch
from torch import Tensor

from despur.core import Context, NormGain, Subspace
from despur.core.errors import SiteNotFound
from despur.guard import grasp
from despur.guard._projection import MetDirections

CPU = torch.device("cpu")


def made(rows: Tensor, gain: Tensor | None = None, *, centred: bool = False, reads: bool = True) -> MetDirections:
    return MetDirections({CPU: rows}, None if gain is None else NormGain(gain, centred), reads=reads)


def directions(k: int = 3, d: int = 16) -> Tensor:
    return Subspace.orthonormal(torch.randn(k, d, generator=torch.Generator().manual_seed(0))).read


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("centred", [True, False])
def test_rows_are_an_orthonormal_basis_of_what_the_norm_shows(reads, centred):
    rows, gain = directions(), torch.rand(16, generator=torch.Generator().manual_seed(1)) * 100 + 0.01
    shown = NormGain(gain, centred).show(rows) if reads else NormGain(gain, centred).pull_back(rows)
    basis = made(rows, gain, centred=centred, reads=reads).rows()
    torch.testing.assert_close(basis @ basis.T, torch.eye(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(shown @ basis.T @ basis, shown)


def test_a_direction_that_the_norm_does_not_pass_on_is_dropped_and_a_norm_that_passes_none_refused():
    gain = torch.ones(16)
    gain[0] = 0
    assert made(torch.eye(2, 16), gain).rows().shape == (1, 16)
    with pytest.raises(SiteNotFound, match="nothing of the factor"):
        made(torch.eye(1, 16), gain)


def test_grasp_keeps_the_factor_once_and_d_floats_a_norm(tiny, lora):
    factor = Subspace.orthonormal(torch.randn(8, 32))
    guard = grasp(factor)
    guard.bind(lora(tiny("llama")))
    kept: dict[int, int] = {}
    for held in guard.projections.values():
        assert isinstance(held.source, MetDirections)
        assert held.anchor is None
        gain = [held.source.gain.gain] if held.source.gain else []
        for tensor in (*held.source.directions.values(), held.source.mix, *gain):
            kept[tensor.data_ptr()] = tensor.numel()
    sources = len({id(h.source) for h in guard.projections.values()})
    norms = len({id(h.source) for h in guard.projections.values() if h.source.gain})
    assert norms == 4, "two a layer"
    assert sum(kept.values()) == factor.read.numel() + norms * factor.width + sources * factor.rank**2


def test_whole_weights_are_held_to_what_they_were(tiny, factor):
    """Without LoRA it is the change of a weight that is projected, never the base's own use of the factor."""
    model = tiny(tie_word_embeddings=False)
    for name, p in model.named_parameters():
        p.requires_grad_("norm" not in name)
    edit = grasp(factor)
    edit.bind(model)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    same = edit(before, Context(model))
    moved = {n: w + 0.1 * torch.randn(w.shape, generator=torch.Generator().manual_seed(1)) for n, w in before.items()}
    after = edit(moved, Context(model))
    for layer in (0, 1):
        reads, writes = f"model.layers.{layer}.mlp.up_proj.weight", f"model.layers.{layer}.mlp.down_proj.weight"
        assert torch.allclose(same[reads], before[reads], atol=1e-6), "the base's own reading stays"
        assert torch.allclose(same[writes], before[writes], atol=1e-6)
        assert ((after[reads] - before[reads]) @ factor.read.T).norm() < 1e-4, "no new reading (the norm's gain is one)"
        assert (factor.read @ (after[writes] - before[writes])).norm() < 1e-4, "no new writing"
        assert (factor.read @ (moved[writes] - before[writes])).norm() > 0.1, "without the edit there would be"
