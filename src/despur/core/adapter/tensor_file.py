"""The tensors of an adapter's file, each checked."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from despur.core.adapter.foreign import left_by
from despur.core.adapter.peft_config import reason
from despur.core.errors import BadInput

WEIGHTS = "adapter_model.safetensors"

_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


_WHOLE = (torch.uint8, torch.uint16, torch.uint32, torch.int8, torch.int16, torch.int32, torch.int64)


_NUMBERS = (*FLOATS, *_WHOLE)  # indices of sparse kinds


def there(path: Path) -> bool:
    """Whether a path is there.

    Raises:
        BadInput: its folder cannot be listed.
    """
    try:
        return path.exists()
    except OSError as error:
        raise BadInput(f"cannot list {str(path.parent)!r}: {error.strerror}. Give a folder you may read") from error


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of an adapter's file, finite.

    Raises:
        BadInput: no such file, a pickled one, or one that is damaged.
    """
    path = folder / WEIGHTS
    if not there(path):
        if foreign := left_by(folder):
            raise BadInput(
                f"no {WEIGHTS} in {str(folder)!r}{foreign}. Give the folder that PEFT's save_pretrained wrote"
            )
        pickled = sorted(str(f) for f in folder.glob("*") if f.suffix in _PICKLED and f.name != "training_args.bin")
        if pickled:
            convert = f's.save_file(torch.load("{pickled[0]}", weights_only=True), "{path}")'
            raise BadInput(
                f"{pickled[0]!r} is pickled, and loading a pickle can run code. If you trust it, convert it: "
                f"python -c 'import torch, safetensors.torch as s; {convert}'"
            )
        raise BadInput(f"no {WEIGHTS} in {str(folder)!r}: the folder is incomplete. Copy or save the adapter again")
    if not path.is_file():
        raise BadInput(f"{str(path)!r} is not a regular file. Copy or save the adapter again")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator of its own)
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError, KeyError, AttributeError) as error:
        raise BadInput(f"cannot read {str(path)!r}: {reason(error)}. Copy or save the adapter again") from error
    if not tensors:
        raise BadInput(f"{str(path)!r} contains no tensors. Save the adapter again")
    for name, tensor in tensors.items():
        check_tensor(name, tensor, path)
    return tensors


def check_tensor(name: str, tensor: Tensor, path: Path) -> None:
    """Refuse a tensor that is no plain array of finite numbers, or has an oversized name.

    Raises:
        BadInput: see above.
    """
    if len(name) > 512:
        raise BadInput(f"{str(path)!r} contains a tensor whose name has {len(name)} letters. Save it again")
    if tensor.dtype not in _NUMBERS:
        raise BadInput(
            f"{name!r} in {str(path)!r} is of {tensor.dtype}, which is not a type for weights. Save it again"
        )
    if tensor.dtype not in FLOATS:
        return
    if not torch.isfinite(tensor if tensor.element_size() > 1 else tensor.float()).all():
        raise BadInput(f"{name!r} in {str(path)!r} contains NaN or Inf: the training run diverged. Train it again")
