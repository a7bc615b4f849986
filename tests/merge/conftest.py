"""Text that merges are measured on."""

import pytest
import torch

from despur.guard import OwnText


@pytest.fixture
def own_text() -> OwnText:
    """Twelve rows of 6 to 9 tokens."""
    draw = torch.Generator().manual_seed(3)
    return OwnText(tuple((1, *torch.randint(7, 64, (5 + i % 4,), generator=draw).tolist()) for i in range(12)))
