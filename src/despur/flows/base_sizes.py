"""Whether a base's configuration can be of its files: a stranger's may ask for more layers than anybody can build."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from despur.core.errors import BadInput

_LAYERS = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers", "num_decoder_layers",
    "num_nextn_predict_layers",
)  # fmt: skip
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "n_shared_experts")
_MOST = 100_000  # experts
_LARGEST = 2**50  # any other number


def check_sizes(name: str, config: Mapping[str, Any], *, tensors: int | None = None) -> None:
    """Refuse a configuration whose model would take for ever to build.

    Args:
        name: Folder or file of the base.
        config: The contents of its `config.json`.
        tensors: Number of tensors in its files; counted in the folder if left out.

    Raises:
        BadInput: more layers than the files have tensors, or a number that nothing honest has.
    """
    tensors = _count(Path(name)) if tensors is None else tensors
    for key, value in _numbers(config):
        most = tensors if key in _LAYERS else _MOST if key in _EXPERTS else _LARGEST
        if most is not None and abs(value) > most:
            what = f"its files have {most} tensors" if key in _LAYERS else f"at most {most} is read"
            raise BadInput(
                f"the configuration of base {name!r} has {key}={str(value)[:40]}, and {what}. Copy or save the base again"
            )


def _count(folder: Path) -> int | None:
    count = 0
    try:
        for path in folder.glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                count += len(list(file.keys()))
    except (OSError, SafetensorError):
        return 10_000  # loading says what is wrong with the files
    return count


def _numbers(value: Any, key: str = "") -> list[tuple[str, int | float]]:
    if isinstance(value, Mapping):
        return [found for k, v in value.items() for found in _numbers(v, str(k))]
    if isinstance(value, list):
        return [found for v in value for found in _numbers(v, key)]
    return (
        [(key, value)]
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
        else []
    )
