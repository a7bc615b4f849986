"""Where LoRA sits: on every linear map, on those that read the stream, or on the maps that are named."""

import pytest

from despur.core import Adapter, stream_roles
from despur.core.errors import BadInput
from despur.flows._train.fit import Settings, lora_targets, new_adapter


def test_readers_are_all_maps_that_read_the_stream_but_the_head(any_tiny):
    roles = {n: r.side for n, r in stream_roles(any_tiny).items()}
    head = next(n for n, m in any_tiny.named_modules() if m is any_tiny.get_output_embeddings())
    adapted = set(Adapter.of(new_adapter(any_tiny, Settings(rank=2, targets="readers"))).updates)
    assert adapted == {n for n, side in roles.items() if side == "read"} - {head}
    assert adapted != set(roles) - {head}, "there are maps that it leaves out"


def test_named_maps_alone_are_adapted_and_others_are_told(tiny):
    adapted = set(Adapter.of(new_adapter(tiny(), Settings(rank=2, targets="q_proj, down_proj"))).updates)
    assert {n.rpartition(".")[2] for n in adapted} == {"q_proj", "down_proj"}
    assert lora_targets(tiny(), "all-linear") == "all-linear"
    with pytest.raises(BadInput, match="no map 'c_attn'.*despur sites"):
        lora_targets(tiny(), "c_attn")
