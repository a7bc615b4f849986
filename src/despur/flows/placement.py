"""On which device a model is put, and in which precision."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch

from despur.core.errors import BadInput
from despur.flows.option import Option

_PANEL = "Machine"
Device = Literal["auto", "cpu", "cuda", "mps"]
Where = Annotated[Device, Option(recorded=False, panel=_PANEL)]


@dataclass(frozen=True, slots=True)
class Placement:
    """On which device a model is put, and in which precision.

    Args:
        device: Where models are computed. `auto` trains on a CUDA device where there is one, and measures on the CPU; `split` spreads the
            weights over all devices (accelerate's `device_map`), for a base that is too large for one.
        dtype: Precision of the base's weights. `auto` is float32 where no CUDA device is in use, else the one that they were saved in.

    Example:
        >>> Placement("cpu").target()
        device(type='cpu')
    """

    device: Annotated[Literal["auto", "cpu", "cuda", "mps", "split"], Option(recorded=False, panel=_PANEL)] = "auto"
    dtype: Annotated[Literal["auto", "float32", "bfloat16"], Option(panel=_PANEL)] = "auto"

    def target(self) -> torch.device | None:
        """The device that a model is moved to; None where it stays where it was loaded.

        Raises:
            BadInput: there is no such device here.
        """
        check_device(self.device)
        return None if self.device in ("auto", "split") else torch.device(self.device)

    @property
    def whole(self) -> bool:
        """Whether weights of lower precision are made float32: sums of bfloat16 on a CPU are slow, and lose the last digits."""
        on_cpu = self.device == "cpu" or (self.device == "auto" and not torch.cuda.is_available())
        return self.dtype == "auto" and on_cpu

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `from_pretrained`."""
        spread = {"device_map": "auto"} if self.device == "split" else {}
        return {"dtype": self.dtype if self.dtype == "auto" else getattr(torch, self.dtype), **spread}


def placed(model: Any, device: Device) -> Any:
    """Move a model to where it was asked for.

    Raises:
        BadInput: there is no such device here.
    """
    target = Placement(device).target()
    return model if target is None else model.to(target)


def check_device(name: str) -> None:
    """Refuse a device that is not here.

    Raises:
        BadInput: it is not.
    """
    here = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if name in here and not here[name]():
        raise BadInput(
            f"device={name!r}, and torch {torch.__version__} finds none here. Leave --device out, or install a torch that is built for it"
        )


def dtype_of(model: Any) -> str:
    """Precision of a model's weights, as `float32`.

    Example:
        >>> dtype_of(torch.nn.Linear(2, 2))
        'float32'
    """
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def trains_on_cpu(device: str) -> bool:
    """Whether transformers' Trainer is to stay on the CPU."""
    return device == "cpu" or (device == "auto" and not torch.cuda.is_available())
