"""bfloat16 is only taken where the processor computes with it."""

import pytest
import torch

from despur.core.model.precision import fast_precision


@pytest.mark.parametrize(
    ("has", "takes"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bfloat16"),
        ({"neon": True, "bf16": True}, "bfloat16"),
    ],
)
def test_it_follows_the_processor(monkeypatch, has, takes):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert fast_precision() == takes


def test_a_torch_that_does_not_tell_is_taken_to_lack_it(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert fast_precision() == "float32"
