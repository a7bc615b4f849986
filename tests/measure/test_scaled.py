"""A louder adapter: a multiple of its update while it lasts, and nothing of it afterwards."""

import pytest
import torch

from despur.core import Site, Subspace, TwoStates
from despur.core.errors import BadInput
from despur.measure import token_shift
from despur.measure.scaled import can_scale, louder, scaled


def test_it_is_the_update_times_the_scale_and_goes_again(writer, tokens):
    model, twice = writer(by=4.0), writer(by=8.0)
    before = model(input_ids=tokens).logits
    with scaled(model, 2.0):
        assert torch.allclose(model(input_ids=tokens).logits, twice(input_ids=tokens).logits, atol=1e-5)
    with pytest.raises(KeyError), scaled(model, 3.0):
        raise KeyError
    assert torch.equal(model(input_ids=tokens).logits, before)


def test_what_is_measured_at_a_scale_is_what_an_adapter_of_that_size_has(writer, rows, v):
    factor = Subspace.orthonormal(v[None], site=Site("model.layers.0"))
    one, four = louder(writer(by=2.0), rows, factor, scales=(1.0, 4.0))
    as_trained, as_large = token_shift(writer(by=2.0), rows), token_shift(writer(by=8.0), rows)
    assert one.change == pytest.approx(as_trained.change, rel=1e-4)
    assert four.change == pytest.approx(as_large.change, rel=1e-4)
    assert four.token_share == pytest.approx(as_large.share, rel=1e-3)
    assert one.sufficiency > 0.9
    assert four.valid < one.valid < 0.97
    other = torch.nn.functional.normalize(torch.ones(32) - v.sum() * v, dim=0)
    (beside,) = louder(writer(by=2.0), rows, Subspace.orthonormal(other[None], site=factor.site), scales=(4.0,))
    assert beside.sufficiency < 0.3, "what does not carry the change does not carry a louder one"


def test_other_kinds_are_not_scaled(tiny):
    model = TwoStates(tiny(), {"model.norm.weight": torch.ones(32)})
    assert not can_scale(model)
    with pytest.raises(BadInput, match="only a LoRA adapter can be scaled"), scaled(model, 2.0):
        pass
