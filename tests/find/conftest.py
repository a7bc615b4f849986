"""A live adapter that writes one known direction in one place, and nothing else."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture
def v() -> Tensor:
    return nn.functional.normalize(torch.randn(32, generator=torch.Generator().manual_seed(9)), dim=0)


@pytest.fixture
def rows() -> list[list[int]]:
    draw = torch.Generator().manual_seed(4)
    return [[1, *torch.randint(3, 64, (6 + i % 5,), generator=draw).tolist()] for i in range(40)]


@pytest.fixture
def writer(tiny, lora, v) -> Callable[..., nn.Module]:
    """`writer(layer=0, by=8.0)`: layer 0's MLP adds a multiple of v to the stream, larger or smaller by token."""

    def build(layer: int = 0, by: float = 8.0) -> nn.Module:
        model = lora(tiny(), r=1, target_modules=["down_proj"], layers_to_transform=[layer]).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "lora_A" in name:
                    p.copy_(8 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
                if "lora_B" in name:
                    p.copy_(by * v[:, None])
        return model

    return build
