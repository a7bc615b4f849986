"""caa: the stream moves by the vector while it is attached, and by nothing afterwards."""

import pytest
import torch

from despur.core import Site, attach, record
from despur.core.errors import CannotAttach, ShapeMismatch
from despur.steer import caa

LAYER = Site("model.layers.0")


def test_the_stream_moves_by_the_vector_while_it_is_attached(tiny, tokens):
    model, v = tiny(), torch.randn(32, generator=torch.Generator().manual_seed(0))
    edit = caa({LAYER: v}, strength=-0.5)
    edit.bind(model)

    def said() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad(), record(model, [Site("model.layers.1", "in")]) as seen:
            logits = model(input_ids=tokens).logits
        return seen[Site("model.layers.1", "in")], logits

    stream, logits = said()
    with attach(model, {site: edit for site in edit.sites}):
        moved, steered = said()
    assert torch.allclose(moved - stream, -0.5 * v.expand_as(stream), atol=1e-5)
    assert not torch.allclose(steered, logits, atol=1e-3)
    assert torch.equal(said()[1], logits), "gone afterwards"


def test_faults_are_refused(tiny):
    with pytest.raises(CannotAttach, match="at least one site"):
        caa({})
    with pytest.raises(ShapeMismatch, match="width d=8"):
        caa({LAYER: torch.ones(8)}).bind(tiny())
