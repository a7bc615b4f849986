"""What a structural guard keeps beside the model: the factor once, and of every norm its gain."""

import pytest
import torch
from torch import Tensor

from despur.core import NormGain, Subspace
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
