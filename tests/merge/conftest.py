"""What merges are given: text, adapters of rank 4, and an update multiplied out."""

import numpy as np
import pytest
import torch

from despur.core import Adapter
from despur.guard import OwnText

NAME = "model.layers.1.mlp.up_proj"


@pytest.fixture
def own_text() -> OwnText:
    """Twelve rows of 6 to 9 tokens."""
    draw = torch.Generator().manual_seed(3)
    return OwnText(tuple((1, *torch.randint(7, 64, (5 + i % 4,), generator=draw).tolist()) for i in range(12)))


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


@pytest.fixture
def dense():
    """`dense(adapter)`: one update multiplied out, in numpy."""

    def multiplied(adapter: Adapter, name: str = NAME) -> np.ndarray:
        u = adapter.updates[name]
        return (u.scale * u.up.double() @ u.down.double()).numpy()

    return multiplied
