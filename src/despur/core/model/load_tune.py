"""A base under an adapter that despur wrote."""

from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import nn

from despur.core.model.quiet import quiet_loading


def load_tune(base: nn.Module, folder: Path | str) -> Any:
    """Load a PEFT adapter onto its base, where the base lies, in eval mode.

    Left alone PEFT reads the file onto the first CUDA device that there is, also for a base on the CPU: whoever asked for the CPU
    would still hold a part of the card.
    """
    device = next(base.parameters()).device
    with quiet_loading():
        return PeftModel.from_pretrained(base, str(folder), torch_device=str(device)).eval()  # type: ignore[arg-type]
